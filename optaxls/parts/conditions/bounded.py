"""A limit on the decrease that a trial may promise."""

from typing import Any

import jax.numpy as jnp

from optaxls.parts.types import Condition, Origin, Trial, Verdict


def bounded(condition: Condition) -> Condition:
    """No step that promises to lower the loss by more than ``2 max(|f|, 1)``.

    Nothing that holds half of its promise does so where a loss cannot be negative;
    one without a lower bound would be doubled up to the largest float.
    """

    def judge(memory: Any, origin: Origin, trial: Trial) -> Verdict:
        verdict = condition.judge(memory, origin, trial)
        excess = -trial.linear_change - 2 * jnp.maximum(jnp.abs(origin.value), 1)
        return verdict._replace(too_long=jnp.maximum(verdict.too_long, excess))

    return condition._replace(judge=judge)
