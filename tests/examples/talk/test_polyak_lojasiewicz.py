"""The Polyak-Lojasiewicz inequality along runs of gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import polyak_lojasiewicz as pl
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    assert_reproduces(pl.measure(), 2 * ["≥ 1e-05", "≤ 1", "≤ 1e-09"])


def test_the_minimum_is_the_loss_of_any_basis_of_the_first_two_components():
    with jax.enable_x64(True):
        task = pl.components()
        vectors = np.linalg.eigh(task.data.T @ task.data)[1][:, -2:]
        turned = vectors @ np.array([[0.6, -0.8], [0.8, 0.6]])
        for basis in (vectors, turned):
            np.testing.assert_allclose(task.loss(jnp.asarray(basis)), task.minimum)
        assert task.loss(jnp.asarray(task.start)) > 2 * task.minimum
        # A saddle point: no gradient, and a gap.
        zero = jnp.zeros_like(jnp.asarray(task.start))
        assert np.all(jax.grad(task.loss)(zero) == 0)
        assert task.loss(zero) > 2 * task.minimum


def test_a_trajectory_is_gradient_descent_with_gaps_between_its_points():
    task = pl.components()._replace(steps=4, every=2)
    path = np.asarray(pl.trajectory(task))
    w = jnp.asarray(task.start)
    for step in range(3):
        if step % 2 == 0:
            np.testing.assert_allclose(path[step // 2], w, rtol=1e-4, atol=1e-5)
        w = w - task.step_size * jax.grad(task.loss)(w)
