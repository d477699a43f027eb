"""What all paths with a penalty share: how they predict the change of the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls.parts.types import Displacement, Origin, Params, Path, Proximal


def penalty_change(prox: Proximal, params: Params, updates: Params) -> jax.Array:
    """The penalty after updates less that before, entry by entry where it has terms."""
    new = optax.apply_updates(params, updates)
    if prox.terms is None:
        return prox.penalty(new) - prox.penalty(params)
    # The difference of two sums would round to nothing near a minimum.
    pairs = zip(
        jax.tree.leaves(prox.terms(new)),
        jax.tree.leaves(prox.terms(params)),
        strict=True,
    )
    dtype = trees.scalar_dtype(params)
    changes = [jnp.sum(after - before, dtype=dtype) for after, before in pairs]
    return sum(changes, jnp.zeros((), dtype))


def _change_rounding(prox: Proximal, origin: Origin) -> jax.Array:
    """The rounding error of a predicted change, from rounded params and penalty."""
    dtype = origin.value.dtype
    leaves = trees.inexact_leaves(origin.params)
    widest = max((float(jnp.finfo(leaf.dtype).eps) for leaf in leaves), default=0.0)
    _, size = trees.inner_and_abs(origin.grad, origin.params, dtype)
    return 4 * widest * (size + jnp.abs(prox.penalty(origin.params)).astype(dtype))


def penalised(
    prox: Proximal, updates_at: Callable[[Origin, jax.Array], Params]
) -> Path:
    """The path of ``updates_at(origin, step_size)`` for a loss with a penalty."""

    def displace(origin: Origin, step_size: jax.Array) -> Displacement:
        updates = updates_at(origin, step_size)
        dtype = origin.value.dtype
        change = trees.inner(origin.grad, updates, dtype)
        change = change + penalty_change(prox, origin.params, updates).astype(dtype)
        return Displacement(updates, change, trees.sqnorm(updates, dtype))

    def predicted_slope(origin: Origin, step_size: jax.Array) -> jax.Array:
        _, change, sqdistance = displace(origin, step_size)
        # Near a minimum rounding hides the predicted decrease. There it is known that a
        # step along minus the gradient decreases at least by ||w+ - w||^2 / step_size.
        hidden = change < _change_rounding(prox, origin)
        least = jnp.minimum(change, -sqdistance / step_size)
        return jnp.where(hidden, least, change) / step_size

    return Path(displace, predicted_slope, prox)
