"""L-BFGS against Nesterov's method and gradient descent."""

import jax
import numpy as np
import pytest

from examples.talk import minfunc
from examples.talk.minfunc import Run
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    assert_reproduces(minfunc.measure(), ["≤ 0.2", "≤ 0.02", "≤ 1.15"])


@pytest.mark.slow
def test_the_largest_curvature_is_that_at_the_start():
    with jax.enable_x64(True):
        task = minfunc.problem()
        found = np.linalg.eigvalsh(np.asarray(jax.hessian(task.loss)(task.start)))
    np.testing.assert_allclose(found[-1], task.smoothness, rtol=1e-9)
    assert found[0] >= minfunc.L2 * (1 - 1e-9)


def test_the_cost_is_that_of_the_first_step_below_the_tolerance():
    found = Run(np.array([1, 1e-2, 1e-6, 1e-9]), np.array([1, 3, 6, 7]))
    assert found.steps == 2 and found.cost == 6
    assert Run(np.array([1, 0.1]), np.array([1, 2])).steps == np.inf
