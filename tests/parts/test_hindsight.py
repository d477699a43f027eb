"""The hindsight rule: against plain Python, and what it makes of a wrong step size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls

RATE, TOLERANCE, DECAY, FIRST = 1.5, 0.1, 0.8, 0.05
VALUE = jnp.array(1e6)  # far from 0: no brake


def norm(vector):
    return float(np.linalg.norm(vector))


def oracle(gradients, values, w):
    """Step sizes and points from the formulas, in float64."""
    mean, slope, abs_slope, step_size, k, steps = w, 0.0, 0.0, FIRST, 0, []
    typical_value = steepness = recent = promised = 0.0
    for g, value in zip(gradients, values, strict=True):
        applied = step_size
        if k > 0:
            mean = mean + (w - mean) * 2 / (k + 1)
            h = float(g @ (w - mean))
            typical = abs_slope / max(1 - DECAY ** (k - 1), 1 - DECAY)
            typical = typical if k > 2 else promised
            if typical > 0:
                h = float(np.clip(h, -10 * typical, 10 * typical))
            slope = DECAY * slope + (1 - DECAY) * h
            abs_slope = DECAY * abs_slope + (1 - DECAY) * abs(h)
            if abs_slope > 0:
                excess = float(np.clip(TOLERANCE - slope / abs_slope, -1, 1))
                step_size *= math.exp(RATE * excess / (k + 10))
            bounded = min(abs(value), 10 * typical_value)
            typical_value = DECAY * typical_value + (1 - DECAY) * bounded
            # Of -g the slope per unit of distance is |g|.
            bounded = min(norm(g), 10 * steepness)
            steepness = DECAY * steepness + (1 - DECAY) * bounded
            most = max(abs(value), typical_value / 100)
            rate = norm(g) * max(norm(g), steepness)
            brakes = 100 * typical_value > promised
            applied = min(step_size, most / rate) if brakes else step_size
        else:
            typical_value, steepness, rate = abs(value), norm(g), norm(g) ** 2
            promised = applied * rate
        bounded = min(step_size * rate, 10 * promised)
        promised = DECAY * promised + (1 - DECAY) * bounded
        recent = max(applied, DECAY * recent if value else recent)
        step_size = min(step_size, 2 * recent)
        w = w - applied * g
        k += 1
        steps.append((applied, w))
    return steps


def ours(gradients, values, w, dtype=jnp.float64):
    tx = optaxls.scale_by_initial_step(
        optaxls.hindsight(RATE, TOLERANCE, DECAY, initial_step_size=FIRST)
    )
    w = jnp.asarray(w, dtype)
    state, steps = tx.init(w), []
    for g, value in zip(gradients, values, strict=True):
        g = jnp.asarray(g, dtype)
        updates, state = tx.update(-g, state, w, value=jnp.asarray(value), grad=g)
        w = w + updates
        steps.append((float(state.step_size), np.asarray(w)))
    return steps


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((30, 4)) * np.exp(rng.standard_normal((30, 1)))
    gradients[20] *= 1e6
    start = rng.standard_normal(4)
    # Small, large, negative and exploded ones: some of them brake.
    values = 0.1 * rng.standard_normal(30)
    values[10] *= 1e6
    with jax.enable_x64(True):
        found = ours(gradients, values, start)
    expected = oracle(gradients, values, start)
    for (step, w), (wanted, point) in zip(found, expected, strict=True):
        assert step == pytest.approx(wanted, rel=1e-9)
        np.testing.assert_allclose(w, point, rtol=1e-9)


def trained(step_size, noise, num_steps=400):
    """Step sizes on 0.5 |w|^2 with gradient noise."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=step_size))

    def body(carry, key):
        w, state = carry
        g = w + noise * jax.random.normal(key, w.shape)
        updates, state = tx.update(-g, state, w, value=VALUE, grad=g)
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
        updates, state = tx.update(
            jnp.array([2.0], w.dtype), state, w, value=VALUE, grad=-w
        )
        w = w + updates
    mean = state.initial_step.mean_params
    assert mean.dtype == jnp.float32
    # The points that a step ended in, but for the last; bfloat16 holds even numbers
    # only there.
    points = [258.0, 260.0, 262.0]
    assert mean[0] == pytest.approx(np.average(points, weights=[1, 2, 3]), rel=1e-6)


def test_the_limit_holds_for_one_batch():
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.1))
    w = jnp.array([1.0])
    state = tx.init(w)
    for value in (1.0, 1.0, 1e-3, 1.0):
        g = jnp.array([1.0])
        _, state = tx.update(-g, state, w, value=jnp.array(value), grad=g)
        promised = float(state.step_size)
        kept = float(state.initial_step.hindsight_step)
        if value == 1e-3:
            # A hundredth of the typical loss is more than this batch's.
            typical = float(state.initial_step.mean_abs_value)
            assert typical / 100 > value
            assert promised == pytest.approx(min(kept, typical / 100), rel=1e-5)
        else:
            assert promised == kept


def test_a_batch_that_is_fitted_moves_little_though_its_direction_is_long():
    """Its own slope promises next to nothing, whatever the step size."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.1))
    w, sign = jnp.array([1.0]), jnp.array([-1.0])
    state = tx.init(w)
    for value in (1.0, 1.0, 1e-3, 1.0):
        gradient = jnp.array([value])
        updates, state = tx.update(
            sign, state, w, value=jnp.array(value), grad=gradient
        )
        memory = state.initial_step
        if value == 1e-3:
            most = float(memory.mean_abs_value) / 100
            promised = float(memory.mean_steepness) * state.step_size
            assert promised == pytest.approx(most, rel=1e-5)
            assert abs(updates[0]) < 0.2 * memory.hindsight_step
        else:
            assert state.step_size == memory.hindsight_step


def test_a_loss_may_become_negative():
    """On a line through 0, without noise, the Polyak step alone would end at 0."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.3))
    w, g = jnp.array([1.0]), jnp.array([1.0])
    state = tx.init(w)
    for _ in range(60):
        updates, state = tx.update(-g, state, w, value=w[0], grad=g)
        w = w + updates
    assert w[0] < -1


def test_a_step_that_is_held_back_does_not_grow_meanwhile():
    rule = optaxls.capped(optaxls.hindsight(initial_step_size=1.0), 0.1)
    tx = optaxls.scale_by_initial_step(rule)
    w, g = jnp.array([1.0]), jnp.array([1.0])
    state = tx.init(w)
    for _ in range(20):  # downhill for ever: it would grow
        updates, state = tx.update(-g, state, w, value=VALUE, grad=g)
        w = w + updates
        assert state.step_size == pytest.approx(0.1)
        assert 0.1 < state.initial_step.hindsight_step <= 0.2001


def test_the_first_slope_weighs_no_more_than_ten_promised_decreases():
    """Nothing else is known yet; exploded, it would rule the mean for long."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.1))
    w = jnp.ones(2)
    state = tx.init(w)
    for scale in (1.0, 1.0, 1e8):
        value, g = scale * jnp.sum(w**2), 2 * scale * w
        updates, state = tx.update(-g, state, w, value=value, grad=g)
        w = w + updates
    memory = state.initial_step
    assert memory.num_averaged == 3 and memory.offset_slope < -1e6
    # The first step promised 0.1 * 8, the second one less.
    assert 0 < memory.mean_abs_slope <= 10 * 0.1 * 0.8


def test_losses_of_exactly_zero_do_not_shorten_later_steps():
    """A softmax rounds to 0 while its gradient does not; then the labels change."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.1))
    w, slope = jnp.zeros(2), jnp.full(2, 0.3)
    state = tx.init(w)

    def step(w, state, value):
        updates, state = tx.update(-slope, state, w, value=value, grad=slope)
        return w + updates, state

    for value in [1.0] * 50 + [0.0] * 300:
        w, state = jax.jit(step)(w, state, jnp.float32(value))
    _, state = step(w, state, jnp.float32(15.0))
    assert state.step_size > 0.1
