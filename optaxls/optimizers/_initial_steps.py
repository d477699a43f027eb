"""The initial steps that several optimizers share."""

import math

from optaxls._core import checks
from optaxls.parts.initial_steps.polyak import polyak, smoothed_polyak
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


def polyak_rule(
    polyak_c: float,
    lower_bound: float,
    max_step_size: float,
    growth: float | None,
    steps_per_epoch: float | None,
    initial_step_size: float,
    eps: float,
) -> InitialStep:
    """The Polyak step, capped, or smoothed where a growth is given."""
    checks.require("c", polyak_c, "(0, inf)")
    if growth is None:
        return polyak(polyak_c, lower_bound, max_step_size=max_step_size, eps=eps)
    if steps_per_epoch is None:
        raise ValueError(
            f"steps_per_epoch is needed with growth = {growth!r}: "
            "pass dataset_size / batch_size, a number in (0, inf)"
        )
    return smoothed_polyak(
        polyak_c,
        lower_bound,
        initial_step_size,
        growth,
        steps_per_epoch,
        max_step_size=max_step_size,
        eps=eps,
    )
