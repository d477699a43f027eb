"""Takes params back into a set, behind whatever moved them."""

from typing import Any

import optax

from optaxls._core.arguments import hold_integers, require_arguments
from optaxls.parts.types import Params, Proximal
from optaxls.transforms.proximal._domain import into_domain


def keep_inside(prox: Proximal) -> optax.GradientTransformationExtraArgs:
    r"""Shortens updates so that the params stay in a set.

    :math:`u \leftarrow P(w + u) - w`. It is the last part of a chain in which momentum,
    a schedule or weight decay comes behind a step-size rule along a projection. Bounds
    hold to the last bit.

    Args:
      prox: a set of ``optaxls.prox``, such as ``optaxls.prox.box(0, 1)``.

    Returns:
      A transformation of what is *added*; ``update`` needs ``params``.

    Raises:
      TypeError: ``prox`` is of another kind, or ``params`` is missing. ValueError: it
      has no set.

    Cost:
      One projection; it keeps no state.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> positive = optaxls.prox.nonnegative()
      >>> optimizer = optax.chain(optax.sgd(1.0, 0.9), optaxls.keep_inside(positive))
      >>> w = jnp.array([1.0, 3.0])
      >>> updates, _ = optimizer.update(jnp.array([2.0, 1.0]), optimizer.init(w), w)
      >>> print(optax.apply_updates(w, updates))
      [0. 2.]

    Reference:
      ``optax.keep_params_nonnegative`` for any set.
    """
    if not isinstance(prox, Proximal):
        raise TypeError(
            "keep_inside: prox must be a set such as optaxls.prox.box(0, 1), "
            f"got {prox!r}"
        )
    if prox.domain is None:
        raise ValueError("keep_inside: prox must be a set, got a penalty without one")

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, Any]:
        del extra
        require_arguments("keep_inside", params=params)
        return into_domain(prox, params, hold_integers(updates, params)), state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)
