"""Bounds on the influence of one batch on what an optimizer remembers.

**A batch counts at most as ten typical ones.** So a single exploded batch cannot spoil
an average that later steps depend on.

- Squared norms, slopes and steepness are measured from zero. They are bounded by ten
  times their typical size.
- Losses may be shifted by any constant. So their distance from a reference is bounded,
  by ten times the typical distance (or promised decrease, if that is more).

So scaling or shifting the loss scales or shifts every memory alike. A typical size of 0
means that nothing was measured yet, and then nothing is bounded.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# A single batch counts at most as this many typical ones.
MOST = 10


def at_most_tenfold(number: jax.Array, typical: jax.Array) -> jax.Array:
    """Clips ``number`` to at most ten times ``typical``, above and below zero."""
    bound = jnp.where(typical > 0, MOST * typical, jnp.inf)
    return jnp.clip(number, -bound, bound)


def factor_at_most_tenfold(sqnorm: jax.Array, typical_sqnorm: jax.Array) -> jax.Array:
    """Returns the factor that shortens a vector to ten typical lengths; at most 1."""
    bound = MOST**2 * typical_sqnorm
    long = (typical_sqnorm > 0) & (sqnorm > bound)
    return jnp.where(long, jnp.sqrt(bound / jnp.where(long, sqnorm, 1)), 1)


class DeviationMemory(NamedTuple):
    """The typical distance of losses from their reference, in loss units.

    ``last_decrease`` is the decrease that the last step promised. ``mean_deviation``
    averages the larger of two numbers: the distance of a loss from the reference, and
    the ``last_decrease`` of the step before it.
    """

    last_decrease: jax.Array
    mean_deviation: jax.Array


# Weight of the newest deviation: the average follows it within about twenty steps.
NEWEST = 0.1


def no_deviation(dtype: Any) -> DeviationMemory:
    """Returns the memory before any loss was measured."""
    zero = jnp.zeros((), dtype)
    return DeviationMemory(zero, zero)


def with_loss(
    memory: DeviationMemory, value: jax.Array, reference: jax.Array, known: Any
) -> DeviationMemory:
    """Returns the memory after another loss.

    ``known`` says whether there is a reference yet; without one the distance is 0.
    """
    distance = jnp.abs(value - jnp.where(known, reference, value))
    deviation = jnp.maximum(distance, memory.last_decrease)
    mean = memory.mean_deviation
    moved = mean + NEWEST * (at_most_tenfold(deviation, mean) - mean)
    return memory._replace(mean_deviation=jnp.where(mean > 0, moved, deviation))


def with_promise(
    memory: DeviationMemory, accepted: jax.Array, linear_change: jax.Array
) -> DeviationMemory:
    """Returns the memory after a step that promised to change the loss linearly.

    The first promise sets ``mean_deviation``, since no other scale is known before.
    """
    promised = jnp.maximum(jnp.where(accepted, -linear_change, 0), 0)
    mean = memory.mean_deviation
    return DeviationMemory(promised, jnp.where(mean > 0, mean, promised))


def loss_at_most_tenfold(
    value: jax.Array, reference: jax.Array, memory: DeviationMemory
) -> jax.Array:
    """Clips a loss to at most ten typical deviations above ``reference``."""
    above = at_most_tenfold(value - reference, memory.mean_deviation)
    # An unclipped loss is returned as it is: adding and subtracting would round it.
    return jnp.where(above < value - reference, reference + above, value)


# A step below this fraction of the initial step size comes from a search that
# collapsed, and later searches do not continue from it.
FAR_BELOW = 1e-12


def shortest(dtype: Any) -> float:
    """Returns the shortest step size to remember: no factor can make 0 grow again."""
    return float(jnp.finfo(dtype).tiny) ** 0.5
