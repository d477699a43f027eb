"""The step that is taken after a search that found nothing."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls.parts.types import Origin, Outcome


def shorten(outcome: Outcome, origin: Origin, fallback_step: Any) -> jax.Array:
    """The fallback step, or the rejected one if shorter; none next to a pole."""
    del origin
    retreat = jnp.minimum(fallback_step, outcome.trial.step_size)
    return jnp.where(jnp.isfinite(outcome.trial.value), retreat, 0)


def shorten_where_it_climbs(
    outcome: Outcome, origin: Origin, fallback_step: Any
) -> jax.Array:
    """``shorten``, and on to where the last trial says that the loss falls.

    The parabola through the loss and slope at the origin and the last, rejected trial
    climbs beyond twice its minimizer. A batch whose loss exploded would throw the
    params out of the world with any fixed step.
    """
    retreat = shorten(outcome, origin, fallback_step)
    step_size = outcome.trial.step_size
    rise = jnp.maximum(outcome.trial.value - origin.value, 0)
    drop = -origin.slope * step_size
    minimizer = 0.5 * step_size * drop / jnp.where(drop > 0, rise + drop, 1)
    return jnp.where(retreat > 2 * minimizer, minimizer, retreat)
