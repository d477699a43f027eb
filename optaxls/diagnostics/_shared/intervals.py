"""95 % intervals from a standard error, and standard errors from a jackknife."""

import jax
import jax.numpy as jnp

# This many standard errors on either side hold 95 % of a normal distribution.
NORMAL_95 = 1.96


def around(
    value: jax.Array, error: jax.Array, *, least: float, rounding: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Value, low end and high end of ``value +- 1.96 error``, cut at ``least``.

    ``rounding`` is the relative error of the arithmetic. Without it a number with a
    standard error of 0 would get an interval that excludes the truth by one ulp.
    """
    margin = NORMAL_95 * error + rounding * jnp.abs(value)
    return (
        jnp.maximum(value, least),
        jnp.maximum(value - margin, least),
        jnp.maximum(value + margin, least),
    )


def jackknife_error(left_out: jax.Array) -> jax.Array:
    """Standard error of a statistic, from its values with one group left out.

    Groups lie on the last axis. A value that is not finite is left out of the sum.
    """
    finite = jnp.isfinite(left_out)
    # At least 1, so that no finite value at all gives 0 rather than NaN.
    count = jnp.maximum(finite.sum(-1), 1)
    mean = jnp.where(finite, left_out, 0).sum(-1) / count
    squares = jnp.where(finite, (left_out - mean[..., None]) ** 2, 0).sum(-1)
    # Not / (count - 1): leaving out one of n groups moves the statistic by 1 / n only.
    return jnp.sqrt((count - 1) / count * squares)
