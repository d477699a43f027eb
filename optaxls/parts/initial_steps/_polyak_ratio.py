"""The Polyak ratio that all Polyak step sizes share, safe against division by 0."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls.parts.types import Origin


def polyak_ratio(
    origin: Origin, polyak_c: Any, lower_bound: Any, eps: Any
) -> jax.Array:
    r"""The Polyak step size ``max(f - f*, 0) / (c * (-slope) + eps)``, never negative.

    Along the negative gradient ``-slope`` is the squared gradient norm. Along a
    preconditioned one it is the squared norm that the preconditioner induces. A loss
    at or below its lower bound f* gives 0, and so does a direction along which the
    loss rises. ``origin.lower_bound``, given for one batch, replaces ``lower_bound``.
    """
    bound = lower_bound if origin.lower_bound is None else origin.lower_bound
    gap = jnp.maximum(origin.value - bound, 0)
    steepness = jnp.maximum(-origin.slope, 0)
    denominator = polyak_c * steepness + eps
    ratio = gap / jnp.where(denominator > 0, denominator, 1)
    return jnp.where((origin.slope < 0) & (denominator > 0), ratio, 0)
