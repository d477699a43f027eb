"""Second-order steps on mini-batches."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples.talk import second_order
from examples.talk.second_order import (
    armijo_from_one,
    contractions,
    drawn,
    hessian_free,
    log_cosh,
    newton,
    searched,
    stochastic_lbfgs,
)
from tests.examples.talk.checks import assert_reproduces

CURVATURES = jnp.array([1.0, 4.0, 9.0])


@pytest.mark.slow
def test_the_inequalities_of_the_recipe_hold():
    claim = second_order.measure()
    assert_reproduces(claim, ["≤ 1e-06", "≤ 1e-06", "≤ 1e-06", "≤ 0.2"])
    assert (second_order.STEPS, second_order.EARLY) == (60, 14)


def quadratic(w):
    return CURVATURES @ w**2 / 2


@pytest.mark.parametrize("direction", [newton(1.0), hessian_free(1.0)])
def test_the_damped_newton_direction_of_a_quadratic(direction):
    w = jnp.array([1.0, -2.0, 3.0])
    found, _ = direction.update(
        CURVATURES * w, direction.init(w), w, curvature_fn=quadratic
    )
    np.testing.assert_allclose(found, CURVATURES * w / (CURVATURES + 1), rtol=1e-4)


def stepped(optimizer: Any, state: Any, w: jax.Array, loss: Any) -> Any:
    value, grad = jax.value_and_grad(loss)(w)
    updates, state = optimizer.update(
        grad, state, w, value=value, grad=grad, value_fn=loss, curvature_fn=loss
    )
    return w + updates, state


def test_a_newton_step_of_size_one_solves_a_quadratic():
    optimizer, w = searched(newton(0.0)), jnp.array([1.0, -2.0, 3.0])
    w, _ = stepped(optimizer, optimizer.init(w), w, quadratic)
    np.testing.assert_allclose(w, 0, atol=1e-6)


def test_the_pairs_of_lbfgs_are_of_one_batch():
    """Two batches of curvatures that differ: each pair has one of them."""
    first, second = CURVATURES, 2 * CURVATURES[::-1]
    optimizer, w = stochastic_lbfgs(armijo_from_one()), jnp.array([1.0, -2.0, 3.0])
    state: Any = optimizer.init(w)
    for curvatures in (first, second, first):
        w, state = stepped(optimizer, state, w, lambda w, a=curvatures: a @ w**2 / 2)
    steps = np.asarray(state.lbfgs.diff_params_memory)
    changes = np.asarray(state.lbfgs.diff_updates_memory)
    np.testing.assert_allclose(changes[0], first * steps[0], rtol=1e-4)
    np.testing.assert_allclose(changes[1], second * steps[1], rtol=1e-4)


def test_on_one_batch_it_is_optax_lbfgs_with_the_same_search():
    plain = optax.chain(optax.scale_by_lbfgs(), optax.scale(-1.0), armijo_from_one())
    ours = stochastic_lbfgs(armijo_from_one())
    w = v = jnp.array([1.0, -2.0, 3.0])
    state, other = ours.init(w), plain.init(v)
    for _ in range(4):
        w, state = stepped(ours, state, w, quadratic)
        v, other = stepped(plain, other, v, quadratic)
        np.testing.assert_allclose(w, v, rtol=1e-3, atol=1e-5)


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
