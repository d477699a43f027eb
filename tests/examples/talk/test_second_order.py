"""Second-order steps on mini-batches."""

import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import second_order
from examples.talk.second_order import contractions, drawn, log_cosh
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = second_order.measure()
    assert_reproduces(claim, ["≤ 1e-06", "≤ 1e-06", "≤ 1e-06", "≤ 0.2"])
    assert (second_order.STEPS, second_order.EARLY) == (60, 14)


def test_log_cosh_keeps_its_digits_near_zero():
    residual = jnp.array([1e-6, 0.5, 3.0])
    expected = [5e-13, np.log(np.cosh(0.5)), np.log(np.cosh(3.0))]
    np.testing.assert_allclose(log_cosh(residual), expected, rtol=1e-5)


def test_batches_grow_by_half_to_all_examples():
    batches = drawn(14, growing=True)
    sizes = np.count_nonzero(batches.gradient.weights, axis=-1)
    assert sizes[0].tolist()[:4] == [100, 150, 225, 337]
    assert sizes[0, -1] == second_order.EXAMPLES
    np.testing.assert_allclose(batches.gradient.weights.sum(-1), 1)
    assert not np.array_equal(batches.gradient.rows, batches.curvature.rows)


def test_contractions_stop_at_rounding():
    found = contractions(np.array([1.0, 0.5, 0.05, 1e-30, 0.0]))
    np.testing.assert_allclose(found, [0.5, 0.1])
