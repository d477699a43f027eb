"""The hindsight rule: against plain Python, and what it makes of a wrong step size."""

# Optax types states and updates as unions of trees; their fields are known here.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false, reportOperatorIssue=false

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls

RATE, TOLERANCE, DECAY, FIRST = 1.5, 0.1, 0.8, 0.05


def oracle(gradients, w):
    """Step sizes and points from the formulas, in float64."""
    mean, slope, abs_slope, step_size, k, steps = w, 0.0, 0.0, FIRST, 0, []
    for g in gradients:
        if k > 0:
            mean = mean + (w - mean) / k
            h = float(g @ (w - mean))
            usual = abs_slope / max(1 - DECAY ** (k - 1), 1 - DECAY)
            if usual > 0:
                h = float(np.clip(h, -10 * usual, 10 * usual))
            slope = DECAY * slope + (1 - DECAY) * h
            abs_slope = DECAY * abs_slope + (1 - DECAY) * abs(h)
            if abs_slope > 0:
                excess = float(np.clip(TOLERANCE - slope / abs_slope, -1, 1))
                step_size *= math.exp(RATE * excess / (k + 10))
        w = w - step_size * g
        k += 1
        steps.append((step_size, w))
    return steps


def ours(gradients, w, dtype=jnp.float64):
    tx = optaxls.scale_by_initial_step(
        optaxls.hindsight(RATE, TOLERANCE, DECAY, initial_step_size=FIRST)
    )
    w = jnp.asarray(w, dtype)
    state, steps = tx.init(w), []
    for g in gradients:
        g = jnp.asarray(g, dtype)
        updates, state = tx.update(-g, state, w, grad=g)
        w = w + updates
        steps.append((float(state.step_size), np.asarray(w)))
    return steps


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((30, 4)) * np.exp(rng.standard_normal((30, 1)))
    gradients[20] *= 1e6
    start = rng.standard_normal(4)
    with jax.enable_x64(True):
        found = ours(gradients, start)
    for (step, w), (wanted, point) in zip(found, oracle(gradients, start), strict=True):
        assert step == pytest.approx(wanted, rel=1e-9)
        np.testing.assert_allclose(w, point, rtol=1e-9)


def trained(step_size, noise, num_steps=400):
    """Step sizes on 0.5 |w|^2 with gradient noise."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=step_size))

    def body(carry, key):
        w, state = carry
        g = w + noise * jax.random.normal(key, w.shape)
        updates, state = tx.update(-g, state, w, grad=g)
        return (w + updates, state), state.step_size

    w = jnp.ones(10)
    keys = jax.random.split(jax.random.key(0), num_steps)
    return jax.lax.scan(body, (w, tx.init(w)), keys)[1]


def test_a_short_step_grows_and_a_noisy_one_anneals():
    assert trained(1e-3, noise=0.0)[60] > 10 * 1e-3
    noisy = trained(0.5, noise=1.0)
    assert noisy[-1] < 0.2 * noisy[0]


def test_bf16_params_have_a_float32_mean_that_moves():
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1.0))
    w = jnp.array([256.0], jnp.bfloat16)
    state = tx.init(w)
    for _ in range(4):
        updates, state = tx.update(jnp.array([2.0], w.dtype), state, w, grad=-w)
        w = w + updates
    mean = state.initial_step.mean_params
    assert mean.dtype == jnp.float32
    # The points that a step ended in, but for the last; bfloat16 holds even numbers
    # only there.
    points = [258.0, 260.0, 262.0]
    assert mean[0] == pytest.approx(np.mean(points), rel=1e-6)
