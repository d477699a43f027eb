"""Origins, trials and outcomes made by hand, to test the parts without the engine."""

from typing import Any

import jax.numpy as jnp

from optaxls import Origin, Outcome, Trial


def origin(
    value: float = 1.0,
    slope: float = -1.0,
    lower_bound: float | None = None,
    params: Any = (),
    grad: Any = (),
) -> Origin:
    size = jnp.array(-slope)
    bound = None if lower_bound is None else jnp.array(lower_bound)
    return Origin(
        params, grad, (), jnp.array(value), -size, size, size, lower_bound=bound
    )


def trial(step_size: float, value: float = 0.0, slope: float = -1.0) -> Trial:
    step = jnp.array(step_size)
    return Trial(step, jnp.array(value), step * slope, -(step**2) * slope)


def outcome(
    step_size: float,
    num_trials: int = 1,
    accepted: bool = True,
    value: float = 0.0,
    slope: float = -1.0,
) -> Outcome:
    tested = trial(step_size, value, slope)
    return Outcome(
        tested, tested, tested.step_size, jnp.array(num_trials), jnp.array(accepted)
    )
