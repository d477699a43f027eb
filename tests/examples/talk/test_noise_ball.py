"""The floor of a constant step on data that cannot be fit."""

import numpy as np
import pytest

from examples.talk import noise_ball
from examples.talk.noise_ball import exact_floor, problem
from examples.talk.problems_rates import LeastSquares
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.slow
def test_the_inequalities_of_the_recipe_hold():
    step, batch = "in [1.8, 2.5]", "in [3.3, 4.8]"
    limits = [step, step, batch, batch, "in [3.96, 4.04]", "≤ 1e-20"]
    assert_reproduces(noise_ball.measure(), limits)


@pytest.mark.slow
@pytest.mark.parametrize(("step_size", "batch_size"), [(0.04, 1), (0.02, 4)])
def test_the_floor_is_the_exact_one(step_size, batch_size):
    found = noise_ball.floor(step_size, batch_size, 1.0)
    np.testing.assert_allclose(found.height, found.exact, rtol=0.05)


def test_the_exact_floor_of_a_single_feature():
    """With x = ±1 and r = ±1: C = (1 - a)^2 C + a^2 / B, the loss C / 2."""
    x = np.array([1.0, 1.0, -1.0, -1.0])[:, None]
    task = LeastSquares(x, np.array([1.0, -1.0, 1.0, -1.0]))
    for step_size, batch_size in ((0.1, 1), (0.5, 3)):
        variance = step_size / batch_size / (2 - step_size)
        floor = exact_floor(task, step_size, batch_size)
        np.testing.assert_allclose(floor, variance / 2)


def test_the_exact_floor_scales_with_the_variance_of_the_noise():
    ratio = exact_floor(problem(2.0), 0.01, 1) / exact_floor(problem(1.0), 0.01, 1)
    np.testing.assert_allclose(ratio, 4, rtol=1e-9)
