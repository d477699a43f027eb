"""The one Armijo inequality that the conditions share."""

from typing import Any

import jax

from optaxls.parts.types import Trial


def armijo_excess(trial: Trial, reference: jax.Array, c: Any) -> jax.Array:
    """Armijo's ``f(w+) - reference - c <grad, w+ - w>``; positive means too long."""
    return trial.value - reference - c * trial.linear_change
