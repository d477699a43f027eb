"""Quasi-Newton steps without constraints, with bounds and with an L1 penalty."""

import jax
import numpy as np
import pytest

from examples.talk import constrained
from examples.talk.constrained import L1, Run, evaluations_to_gap, published_fista
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = constrained.measure()
    assert_reproduces(claim, ["≤ 0.2", "≤ 0.02", "≤ 0.25", "≤ 0", "≤ 0.3333", "≥ 10"])


@pytest.mark.slow
def test_the_published_method_ends_at_the_optimality_of_the_lasso():
    with jax.enable_x64(True):
        found = published_fista(0.0, L1)
        grad = np.asarray(jax.grad(constrained.loss_with(0.0))(found.params))
    zero = found.params == 0
    assert np.all(np.abs(grad[zero]) <= L1 + 1e-6) and 0 < zero.sum() < len(zero)
    np.testing.assert_allclose(
        grad[~zero], -L1 * np.sign(found.params[~zero]), atol=1e-5
    )


def test_evaluations_are_those_at_the_first_step_within_the_gap():
    slow = Run(np.array([1.0, 0.5, 0.1]), np.array([1, 2, 3]), np.zeros(1))
    fast = Run(np.array([1.0, 1e-9, 0.0]), np.array([1, 3, 5]), np.zeros(1))
    assert evaluations_to_gap({"slow": slow, "fast": fast}) == {"slow": 3, "fast": 3}
