"""By how much a trial misses the Armijo inequality, for all Armijo conditions."""

from typing import Any

import jax

from optaxls.parts.types import Trial


def armijo_excess(trial: Trial, reference: jax.Array, c: Any) -> jax.Array:
    """The excess ``f(w+) - reference - c <grad, w+ - w>`` of Armijo's inequality.

    It is in loss units. A positive excess means that the trial is too long.
    """
    return trial.value - reference - c * trial.linear_change
