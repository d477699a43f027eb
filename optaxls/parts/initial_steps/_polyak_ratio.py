"""The one Polyak ratio, guarded, that every Polyak step size shares."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls.parts.types import Origin


def polyak_ratio(
    origin: Origin, polyak_c: Any, lower_bound: Any, eps: Any
) -> jax.Array:
    r"""``max(f - f*, 0) / (c * (-slope) + eps)``.

    Along the negative gradient ``-slope`` is the squared gradient norm; along a
    preconditioned one it is the norm that the preconditioner induces. A loss at or
    below its bound gives 0, never a negative step. An ascent direction
    gives 0 as well. ``origin.lower_bound``, given per batch, overrules the rule's.
    """
    bound = lower_bound if origin.lower_bound is None else origin.lower_bound
    gap = jnp.maximum(origin.value - bound, 0)
    steepness = jnp.maximum(-origin.slope, 0)
    denominator = polyak_c * steepness + eps
    ratio = gap / jnp.where(denominator > 0, denominator, 1)
    return jnp.where((origin.slope < 0) & (denominator > 0), ratio, 0)
