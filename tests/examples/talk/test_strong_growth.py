"""SGD with a constant step under strong growth."""

import jax
import numpy as np
import optax
import pytest

from examples.talk import strong_growth
from examples.talk.problems_rates import (
    LeastSquares,
    constants,
    decline,
    descents,
    examples_drawn,
)
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.slow
def test_the_inequalities_of_the_recipe_hold():
    assert_reproduces(strong_growth.measure(), ["≤ 1.05", "≥ 1"])


def test_the_growth_constant_of_one_hot_inputs_is_their_dimension():
    known = constants(np.diag(np.sqrt([1.0, 0.5, 0.25, 0.125])))
    np.testing.assert_allclose(known, (0.125 / 4, 1 / 4, 1, 4), rtol=1e-12)


def test_the_growth_constant_bounds_every_error_and_is_reached():
    x = strong_growth.problem().x
    known = constants(x)
    errors = np.random.default_rng(0).standard_normal((2000, x.shape[1]))
    residuals = errors @ x.T
    sqnorms = np.mean(residuals**2 * np.sum(x**2, axis=1), axis=1)
    ratios = sqnorms / np.sum((residuals @ x / len(x)) ** 2, axis=1)
    assert ratios.max() <= known.growth <= known.largest / known.mu


def test_constants_leave_out_directions_without_inputs():
    x = np.random.default_rng(0).standard_normal((5, 9))
    nonzero = np.linalg.eigvalsh(x @ x.T / 5)
    known = constants(x)
    np.testing.assert_allclose(known.mu, nonzero[0])
    np.testing.assert_allclose(known.smoothness, nonzero[-1])


def test_the_bound_is_a_geometric_sequence():
    known = constants(np.diag(np.sqrt([1.0, 0.5])))
    bound = strong_growth.bound_of(known, np.arange(3), 8.0)
    np.testing.assert_allclose(bound, [8, 6, 4.5])


def test_decline_stops_before_rounding():
    losses = np.array([1, 1e-10, 1e-20, 1e-30, 1e-30])
    np.testing.assert_allclose(decline(losses, 5), np.log(1e10) / 5)
    np.testing.assert_allclose(decline(losses[:2], 5), np.log(1e10) / 5)


def test_descents_records_every_so_many_steps():
    task = LeastSquares(np.eye(2), np.ones(2))
    rows = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    with jax.enable_x64(True):
        found = descents(
            task.example_loss,
            optax.sgd,
            np.array([1.0, 0.5]),
            np.zeros((2, 2)),
            rows,
            full_loss=task.full_loss,
            every=2,
        )
    np.testing.assert_allclose(found, [[0.5, 0.25, 0], [0.5, 17 / 64, 257 / 1024]])


def test_descents_wants_whole_blocks():
    task = LeastSquares(np.eye(2), np.ones(2))
    with pytest.raises(ValueError, match="must divide the 5 steps"):
        descents(
            task.example_loss,
            optax.sgd,
            np.ones(1),
            np.zeros((1, 2)),
            examples_drawn(2, 1, 5),
            full_loss=task.full_loss,
            every=2,
        )
