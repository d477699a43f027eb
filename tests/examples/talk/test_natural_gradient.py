"""Natural gradients for variational inference, and what keeps a precision positive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import natural_gradient
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = natural_gradient.measure()
    assert_reproduces(claim, ["≤ 25", "≤ 8", "≥ 300", "≥ 0.12", "≤ 0"])


@pytest.mark.slow
def test_the_quadrature_is_the_mean_over_many_samples():
    mean = jnp.linspace(-0.5, 0.5, natural_gradient.COLUMNS)
    root = jnp.eye(natural_gradient.COLUMNS) / 2
    x, y = natural_gradient.regression()
    draws = np.random.default_rng(1).standard_normal((20_000, len(mean))) / 2
    margins = (np.asarray(mean) + draws) @ np.asarray(x).T * np.asarray(y)
    value, grad, hessian = natural_gradient.expectations(mean, root)
    np.testing.assert_allclose(value, np.logaddexp(0, -margins).mean(), atol=5e-3)
    # Bonnet and Price: derivatives of the mean loss in mean and covariance.
    slope = jax.grad(lambda m: natural_gradient.expectations(m, root)[0])(mean)
    np.testing.assert_allclose(grad, slope, atol=1e-4)
    bend = jax.hessian(lambda m: natural_gradient.expectations(m, root)[0])(mean)
    np.testing.assert_allclose(hessian, bend, atol=1e-3)


def test_needed_is_the_step_from_which_on_the_gap_is_small():
    gaps = np.array([1.0, 1e-7, 1.0, 1e-8, 0.0])
    assert natural_gradient.needed(gaps) == 3
    assert natural_gradient.needed(gaps[:3]) == np.inf
