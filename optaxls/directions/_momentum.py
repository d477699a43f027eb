"""optax's momentum, with a state whose types never change."""

from typing import Any

import optax

from optaxls._core import trees


def trace(decay: Any, nesterov: bool = False) -> optax.GradientTransformation:
    """``optax.trace`` that keeps every leaf's dtype.

    In the first step optax's own turns integer leaves of its state into floats. That
    costs a second compilation, and ``lax.scan`` refuses such a state.
    """
    inner = optax.trace(decay, nesterov)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        new, new_state = inner.update(updates, state, params)
        return trees.cast_like(new, updates), trees.cast_like(new_state, state)

    return optax.GradientTransformation(inner.init, update)
