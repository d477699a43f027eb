"""Directions that only change a sign, and that of sign descent."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees


def descent() -> optax.GradientTransformation:
    """``optax.scale(-1.0)``, such that a search can undo it without a copy."""
    return optax.stateless(lambda updates, params: trees.reverse(updates))


def negative_sign(updates: Any, params: Any) -> Any:
    """Minus the sign of the gradient, and NaN where the gradient is not finite.

    The sign of an infinity would be 1, which no later check could find.
    """
    del params

    def leaf_sign(g):
        return jnp.where(jnp.isfinite(g), -jnp.sign(g), jnp.nan).astype(g.dtype)

    return jax.tree.map(leaf_sign, updates)
