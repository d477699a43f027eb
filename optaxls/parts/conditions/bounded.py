"""A limit on the decrease that a trial may promise."""

from typing import Any

import jax.numpy as jnp

from optaxls.parts.types import Condition, Origin, Trial, Verdict


def bounded(condition: Condition) -> Condition:
    """No step that promises to lower the loss by far more than it is large.

    The most that is allowed is the largest of ``2 |f|``, 2 and the promise of a step
    size of 1. A loss that cannot be negative never needs more where half of the promise
    is held. Along a loss without a lower bound the step would be doubled up to the
    largest float. A loss of 0 whose gradient is not 0 is measured from elsewhere, and
    the last two leave it room.
    """

    def judge(memory: Any, origin: Origin, trial: Trial) -> Verdict:
        verdict = condition.judge(memory, origin, trial)
        most = jnp.maximum(2 * jnp.maximum(jnp.abs(origin.value), 1), -origin.slope)
        excess = -trial.linear_change - most
        return verdict._replace(too_long=jnp.maximum(verdict.too_long, excess))

    return condition._replace(judge=judge)
