"""Lengths of params and direction on the coordinates that a step moves."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees


def moved_lengths(
    direction: Any, params: Any, dtype: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Euclidean lengths of params, direction and a vector of ones, where d is not 0."""

    def terms(d, w):
        # A product with the mask keeps the sharding that a select would lose in vmap.
        # The count is a float: an integer overflows for models of two billion params.
        moving = (d != 0).astype(dtype)
        d, w = jnp.abs(d).astype(dtype), jnp.abs(w).astype(dtype)
        return moving * w * w, d * d, moving

    length, unit, ones = trees.sums(terms, direction, params)
    return jnp.sqrt(length), jnp.sqrt(unit), jnp.sqrt(ones)
