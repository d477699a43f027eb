"""Where the next search of the SLS family starts."""

import math

from optaxls._core import checks
from optaxls.parts.initial_steps.simple import capped, constant, grow
from optaxls.parts.types import InitialStep


def reset_rule(
    reset: str,
    initial_step_size: float,
    growth: float = 2.0,
    steps_per_epoch: float = 1.0,
    max_step_size: float = math.inf,
) -> InitialStep:
    """The first trial of SLS: the last step kept, grown, or the initial one again."""
    checks.require_choice("reset", reset, ("keep", "grow", "restart"))
    grown = grow(initial_step_size, growth, steps_per_epoch, max_step_size)
    rules = {
        "keep": grow(initial_step_size, 1.0, 1.0, max_step_size),
        "grow": grown,
        "restart": capped(constant(initial_step_size), max_step_size),
    }
    return rules[reset]
