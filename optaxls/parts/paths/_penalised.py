"""What all paths with a penalty share: how they predict the change of the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls.parts.types import Displacement, Origin, Params, Path, Proximal


def _penalty_change(prox: Proximal, params: Params, updates: Params) -> jax.Array:
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


def penalised(
    prox: Proximal, updates_at: Callable[[Origin, jax.Array], Params]
) -> Path:
    """The path of ``updates_at(origin, step_size)`` for a loss with a penalty."""

    def displace(origin: Origin, step_size: jax.Array) -> Displacement:
        updates = updates_at(origin, step_size)
        dtype = origin.value.dtype
        change = trees.inner(origin.grad, updates, dtype)
        change = change + _penalty_change(prox, origin.params, updates).astype(dtype)
        return Displacement(updates, change, trees.sqnorm(updates, dtype))

    def predicted_slope(origin: Origin, step_size: jax.Array) -> jax.Array:
        return displace(origin, step_size).linear_change / step_size

    return Path(displace, predicted_slope, prox)
