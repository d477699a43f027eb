"""EM: its step, its rate, and where gradient descent is slower or faster."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import expectation_maximization as em
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    limits = ["≤ 0.01", "≤ 0.01", "≤ 1e-14", "≤ 0.5", "≤ 0.3333", "≤ 0.9", "≤ 0.05"]
    assert_reproduces(em.measure(), limits)


@pytest.mark.slow
@pytest.mark.parametrize("task", [em.gaussians(2.0, 3.0), em.poissons(8.0)])
def test_a_step_of_em_minimises_the_expected_loss(task):
    with jax.enable_x64(True):
        at = jax.tree.map(jnp.asarray, task.start)
        slope = jax.grad(task.expected_loss)(task.em_step(at), at)
        for leaf in jax.tree.leaves(slope):
            np.testing.assert_allclose(leaf, 0, atol=1e-12)
        # Both losses have the same gradient where the expectation is taken.
        both = jax.grad(task.loss)(at), jax.grad(task.expected_loss)(at, at)
        for ours, wanted in zip(*map(jax.tree.leaves, both), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-12)


def test_contraction_is_that_of_a_geometric_path():
    centres = 2.0 + 0.5 ** np.arange(60)[:, None] * np.array([1.0, -3.0])
    limit = {"centres": np.full(2, 2.0)}
    assert em.contraction({"centres": centres}, limit) == pytest.approx(0.5)
