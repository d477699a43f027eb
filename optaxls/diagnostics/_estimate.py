"""A number with its 95 % interval, and where such intervals come from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# So many standard errors on either side hold 95 % of a normal distribution.
NORMAL_95 = 1.96


class Estimate(NamedTuple):
    """A number and its 95 % interval, ``()`` each or of one shape."""

    value: jax.Array
    low: jax.Array
    high: jax.Array


def around(
    value: jax.Array, error: jax.Array, *, least: float = -jnp.inf, rounding: float = 0
) -> Estimate:
    """``value +- 1.96 error`` and no less than ``least``.

    ``rounding`` is what the arithmetic alone may be wrong by, relative to the value:
    an exact number is not reported with an interval of no width.
    """
    margin = NORMAL_95 * error + rounding * jnp.abs(value)
    return Estimate(
        jnp.maximum(value, least),
        jnp.maximum(value - margin, least),
        jnp.maximum(value + margin, least),
    )


def jackknife_error(left_out: jax.Array) -> jax.Array:
    """Standard error from the statistic without each group, groups on the last axis.

    A group whose statistic is not finite is passed over.
    """
    known = jnp.isfinite(left_out)
    count = jnp.maximum(known.sum(-1), 1)
    mean = jnp.where(known, left_out, 0).sum(-1) / count
    squares = jnp.where(known, (left_out - mean[..., None]) ** 2, 0).sum(-1)
    return jnp.sqrt((count - 1) / count * squares)
