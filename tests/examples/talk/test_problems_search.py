"""The problems that the scripts about line searches share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples.talk import problems_search as problems


@pytest.mark.slow
def test_lanes_are_settings_and_seeds_and_each_is_as_if_alone():
    problem = problems.least_squares(batch_size=50, epochs=2)
    together = problems.train_lanes(problem, optax.sgd, (0.1, 0.2), seeds=(0, 1))
    alone = problems.train_lanes(problem, optax.sgd, (0.2,), seeds=(1,))
    assert together.loss.shape == (4, 3)
    np.testing.assert_allclose(together.loss[3], alone.loss[0], rtol=1e-5)


def test_a_run_that_overflows_ends_at_infinity():
    problem = problems.least_squares(batch_size=50, epochs=9)
    assert problems.train_lanes(problem, optax.sgd, (1e9,)).final == np.inf


def test_the_logistic_loss_starts_at_log_2():
    problem = problems.kernel_cancer()
    params = problem.init(jax.random.key(0))
    loss = problem.loss(params, (problem.inputs, problem.targets))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


@pytest.mark.parametrize("rank, floor", [(1, 1.2), (4, 0.04)])
def test_the_floor_of_a_factorization_is_what_its_rank_leaves_out(rank, floor):
    problem = problems.factorization(rank)
    inputs, targets = problem.inputs, problem.targets
    linear_map = np.linalg.lstsq(inputs, targets)[0]
    left, sizes, right = np.linalg.svd(linear_map, full_matrices=False)
    params = (left[:, :rank] * sizes[:rank], right[:rank])
    loss = problem.loss(jax.tree.map(jnp.asarray, params), (inputs, targets))
    # The sum of the squares of the singular values left out, over normal inputs.
    np.testing.assert_allclose(loss, floor, rtol=0.1)
