"""One rule for the step, a rate for each class of functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import one_step_size_adapts
from examples.talk.one_step_size_adapts import Deterministic, rank_deficient, wave
from examples.talk.problems_rates import constants
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.slow
def test_the_inequalities_of_the_recipe_hold():
    limits = ["≥ 0.9", "≥ 0.9", "≤ 4", "≤ 1e-45", "≤ 1", "≤ 1"]
    claim = one_step_size_adapts.measure()
    assert_reproduces(claim, limits)
    assert "50 steps ≤" in claim.checks[3].statement
    assert "500 to 32000 ≤" in claim.checks[2].statement


@pytest.mark.slow
def test_the_wave_is_not_convex_has_smoothness_8_and_the_pl_constant_1_over_32():
    w = jnp.linspace(-20.0, 20.0, 2001)
    slope = jax.vmap(jax.grad(wave))(w)
    bend = jax.vmap(jax.grad(jax.grad(wave)))(w)
    assert bend.min() < 0
    assert bend.max() <= 8 * (1 + 1e-5)
    assert jnp.all(slope**2 / 2 >= wave(w) / 32 * (1 - 1e-5))


def test_the_rank_deficient_problem_has_no_strong_convexity():
    x = rank_deficient().x
    hessian = x.T @ x / len(x)
    assert abs(np.linalg.eigvalsh(hessian)[0]) < 1e-10
    assert constants(x).mu > 0.1


def test_the_worst_ratio_to_the_bound_ignores_rounding():
    assert Deterministic(np.array([[4.0, 1.0, 1.5]]), 0.5).worst == 1.5
    assert Deterministic(np.array([[1.0, 1e-13, 1e-13]]), 1 - 1e-13).worst < 1.01
