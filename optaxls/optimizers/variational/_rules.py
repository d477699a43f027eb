"""How the optimizers of a posterior choose their step size."""

from typing import Any

import optax

from optaxls._core import checks
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant, grow, scheduled
from optaxls.parts.paths._gaussian import iblr_path, von_path, where_definite
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import InitialStep, Path
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.untested import scale_by_initial_step

PATHS = {"von": von_path, "iblr": iblr_path}


def _given(learning_rate: Any, interval: str) -> InitialStep:
    if callable(learning_rate):
        return scheduled(learning_rate)  # pyright: ignore[reportArgumentType]
    checks.require("learning_rate", learning_rate, interval)
    return constant(learning_rate)


def _searched(name: str, path: Path, largest: float) -> Any:
    """Halves the step until the objective falls by a tenth of what is promised."""
    first = grow(1.0, 2.0, max_step_size=largest)
    return scale_by_line_search(
        armijo(0.1), first, backtracking(0.5), path=path, name=name
    )


def mean_rule(name: str, learning_rate: Any) -> optax.GradientTransformationExtraArgs:
    """The step of the mean alone: given, scheduled, or found where it is None."""
    if learning_rate is None:
        return _searched(name, along_direction, float("inf"))
    return scale_by_initial_step(_given(learning_rate, "(0, inf)"), name=name)


def gaussian_rule(
    name: str, learning_rate: Any
) -> optax.GradientTransformationExtraArgs:
    """The step of mean and precision: given, scheduled, or found where it is None."""
    path = PATHS[name]
    if learning_rate is None:
        return _searched(name, path, 1.0)
    first = _given(learning_rate, "(0, 1]")
    first = where_definite(first) if name == "von" else first
    return scale_by_initial_step(first, path=path, name=name)
