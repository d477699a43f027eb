"""Accelerated SGD: the three sequences in NumPy, and the params that it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

START = jnp.array([1.0, -2.0])


def run(optimizer, batches):
    """Params and params to keep after each batch of curvatures."""
    step = jax.jit(optaxls.make_step(lambda y, a: a @ y**2 / 2, optimizer))
    y, state, found = START, optimizer.init(START), []
    for curvatures in batches:
        y, state, *_ = step(y, state, jnp.asarray(curvatures, jnp.float32))
        found.append((y, optaxls.eval_params(state, y)))
    return found, state


def test_it_is_the_loop_of_three_sequences():
    rho, smoothness, mu = 3.0, 2.0, 0.5
    step_size = 1 / (rho * smoothness)
    s = np.sqrt(mu * step_size / rho)
    batches = np.random.default_rng(0).uniform(0, 3, (8, 2))
    optimizer = optaxls.accelerated_sgd(
        growth_constant=rho, smoothness=smoothness, strong_convexity=mu
    )
    y = v = np.asarray(START)
    for (found, kept), curvatures in zip(run(optimizer, batches)[0], batches):  # noqa: B905
        grad = curvatures * y
        w = y - step_size * grad
        v = (1 - s) * v + s * y - s / mu * grad
        y = (s * v + w) / (1 + s)
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(kept, w, rtol=1e-4, atol=1e-6)


def test_without_noise_it_is_nesterovs_momentum():
    s = np.sqrt(0.1)
    ours = optaxls.accelerated_sgd(
        growth_constant=1.0, smoothness=1.0, strong_convexity=0.1
    )
    usual = optax.sgd(1.0, momentum=(1 - s) / (1 + s), nesterov=True)
    batches = [[0.1, 1.0]] * 10
    for (y, _), (z, _) in zip(
        run(ours, batches)[0], run(usual, batches)[0], strict=True
    ):
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-6)


def test_a_batch_that_is_not_finite_moves_no_sequence():
    optimizer = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=1.0, strong_convexity=0.1
    )
    good, nan = [1.0, 0.5], [np.nan, 1.0]
    with_nan, _ = run(optimizer, [good, nan, good])
    without, state = run(optimizer, [good, good])
    np.testing.assert_array_equal(with_nan[1], with_nan[0])
    np.testing.assert_array_equal(with_nan[2], without[1])
    assert optaxls.metrics(state)["step_size"] == 0.5


def test_other_optimizers_keep_what_they_train():
    state = optax.adam(0.1).init(START)
    assert optaxls.eval_params(state, START) is START
    twice = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=1.0, strong_convexity=0.1
    )
    with pytest.raises(ValueError, match="holds 2 of them"):
        optaxls.eval_params((twice.init(START), twice.init(START)), START)


def test_strong_convexity_is_at_most_smoothness():
    with pytest.raises(ValueError, match=r"strong_convexity must lie in \(0, 1.0\]"):
        optaxls.accelerated_sgd(
            growth_constant=2.0, smoothness=1.0, strong_convexity=1.5
        )
