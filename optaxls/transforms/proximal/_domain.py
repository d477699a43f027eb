"""Updates that end in the domain of a penalty."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.paths._bounds import nudged
from optaxls.parts.types import Params, Proximal


def into_domain(prox: Proximal, params: Params, updates: Params) -> Params:
    """The updates to the point of the domain that is nearest to their end."""
    if prox.domain is None:
        return updates
    end = jax.tree.map(
        lambda p, u: p + u if trees.is_inexact(p) else p,
        trees.wide(params),
        trees.wide(updates),
    )
    place = prox.domain(end)

    def leaf(p: Any, u: Any, e: Any, t: Any) -> Any:
        return jnp.where(t == e, u, t - p).astype(u.dtype) if trees.is_inexact(p) else u

    moved = jax.tree.map(leaf, jax.tree.map(jnp.asarray, params), updates, end, place)
    return moved if prox.bounds is None else nudged(prox.bounds, params, moved)
