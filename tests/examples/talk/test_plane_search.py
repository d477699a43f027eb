"""Plane search against line search, heavy ball and L-BFGS."""

import jax
import numpy as np
import optax
import pytest

from examples.talk import plane_search
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = plane_search.measure()
    assert_reproduces(claim, ["≤ 0.5", "≤ 0.35", "≤ 1.25", "≤ 0.001", "≤ 1.1"])
    assert "step back along the last displacement" in claim.findings[3]


def test_needed_is_the_first_step_within_the_tolerance():
    losses = np.array([[2.0, 1.5, 1.0001, 1.0], [2.0, 1.5, 1.4, 1.3]])
    found = plane_search.needed(losses, 1.0, 1e-3)
    np.testing.assert_array_equal(found, [2, np.inf])


def test_the_predictions_are_linear_in_the_params():
    for model in plane_search.models().values():
        with jax.enable_x64(False):
            start = model.start
            double = model.predict(jax.tree.map(lambda w: 2 * w, start))
            once = jax.tree.leaves(model.predict(start))
            for two, one in zip(jax.tree.leaves(double), once, strict=True):
                np.testing.assert_allclose(two, 2 * one, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_short_run_is_ahead_of_gradient_descent():
    model = plane_search.models()["breast cancer"]
    ours = plane_search.run(model, plane_search.plane_search(), 15, products=True)
    plain = plane_search.run(model, optax.sgd(1.0), 15)
    assert ours.losses[-1] < 0.8 * plain.losses[-1]
    assert ours.num_trials <= 1.1
