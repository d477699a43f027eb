"""What one batch may do to a memory, and the way back from a failed search.

One law: **a batch counts at most as ten typical ones.**

- Squared norms, slopes and steepness have a natural zero. They are bounded by ten
  times their typical size.
- Losses have none. What is bounded is their distance from a reference, by ten times
  the typical distance (or promised decrease, if that is more).

So every memory follows the loss when that is scaled or shifted. A typical size of 0
says that nothing is known yet: then nothing is bounded.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# How many typical ones a single batch may count for.
MOST = 10


def at_most_tenfold(number: jax.Array, typical: jax.Array) -> jax.Array:
    """``number``, clipped to ten times ``typical`` on both sides."""
    bound = jnp.where(typical > 0, MOST * typical, jnp.inf)
    return jnp.clip(number, -bound, bound)


def factor_at_most_tenfold(sqnorm: jax.Array, typical_sqnorm: jax.Array) -> jax.Array:
    """What makes a vector at most ten times as long as is typical; else 1."""
    bound = MOST**2 * typical_sqnorm
    long = (typical_sqnorm > 0) & (sqnorm > bound)
    return jnp.where(long, jnp.sqrt(bound / jnp.where(long, sqnorm, 1)), 1)


class DeviationMemory(NamedTuple):
    """How far losses typically lie from their reference.

    ``mean_deviation`` averages the larger of two numbers: the distance of a loss from
    the reference, and the decrease that the step before it promised, kept in
    ``last_decrease`` until then.
    """

    last_decrease: jax.Array
    mean_deviation: jax.Array


# Weight of the newest deviation: the typical one follows within some twenty steps.
NEWEST = 0.1


def no_deviation(dtype: Any) -> DeviationMemory:
    """Nothing is known."""
    zero = jnp.zeros((), dtype)
    return DeviationMemory(zero, zero)


def with_loss(
    memory: DeviationMemory, value: jax.Array, reference: jax.Array, known: Any
) -> DeviationMemory:
    """The memory after another loss; ``known``: whether there is a reference."""
    distance = jnp.abs(value - jnp.where(known, reference, value))
    deviation = jnp.maximum(distance, memory.last_decrease)
    mean = memory.mean_deviation
    moved = mean + NEWEST * (at_most_tenfold(deviation, mean) - mean)
    return memory._replace(mean_deviation=jnp.where(mean > 0, moved, deviation))


def with_promise(
    memory: DeviationMemory, accepted: jax.Array, linear_change: jax.Array
) -> DeviationMemory:
    """The memory after a step: its promise is the first thing known of the scale."""
    promised = jnp.maximum(jnp.where(accepted, -linear_change, 0), 0)
    mean = memory.mean_deviation
    return DeviationMemory(promised, jnp.where(mean > 0, mean, promised))


def loss_at_most_tenfold(
    value: jax.Array, reference: jax.Array, memory: DeviationMemory
) -> jax.Array:
    """A loss, at most ten typical deviations above ``reference``."""
    above = at_most_tenfold(value - reference, memory.mean_deviation)
    # Where nothing is cut it is the loss itself, without the rounding of a detour.
    return jnp.where(above < value - reference, reference + above, value)


# A failed search that ended this far below where searches start is not gone on with.
FAR_BELOW = 1e-12


def shortest(dtype: Any) -> float:
    """The shortest step size that is remembered: from 0 nothing grows."""
    return float(jnp.finfo(dtype).tiny) ** 0.5
