"""Multidimensional backtracking against diagonal AdaGrad."""

import jax
import numpy as np
import pytest

import optaxls
from examples.talk import coordinate_step_sizes
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = coordinate_step_sizes.measure()
    assert_reproduces(claim, ["≤ 1e-06", "≤ 1e-06", "≤ 1"])


@pytest.mark.slow
def test_a_short_run_is_far_ahead_of_one_step_size():
    task = coordinate_step_sizes.synthetic(1e-2)
    with jax.enable_x64(True):
        ours, state = coordinate_step_sizes.run(
            task, optaxls.multidimensional_backtracking(), 60
        )
        least = coordinate_step_sizes.least_of(task)
    gap = (ours - least) / (ours[0] - least)
    assert gap[-1] < 1e-4 and np.all(np.diff(ours) <= 1e-12)
    assert optaxls.metrics(state)["accepted"]
