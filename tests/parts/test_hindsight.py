"""``hindsight`` against plain Python, and what it makes of a wrong step size."""

import functools
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls

RULE = importlib.import_module("optaxls.parts.initial_steps.hindsight")
MEMORY = importlib.import_module("optaxls.parts.initial_steps._hindsight_memory")
RATE, TOLERANCE, DECAY, FIRST = 1.5, 0.1, 0.8, 0.05


def share(excess):
    return float(np.clip(excess / TOLERANCE, 0, 1))


def changed(climb, climbed, k):
    """The change of the logarithm of the step size."""
    slow = RATE / (k + 10)
    fast = (slow if climbed else 0.2) * float(np.clip((-climb - 0.6) / 0.2, 0, 1))
    up = max(slow * share(TOLERANCE / 4 - climb), fast)
    return up - slow * (2 * share(climb - TOLERANCE) + 6 * share(climb - 3 * TOLERANCE))


def first_step(d, w):
    moved = np.linalg.norm(w[d != 0])
    from_zero = RULE._FROM_ZERO * math.sqrt(np.sum(d != 0))
    wanted = RULE._RELATIVE_LENGTH * moved if moved else from_zero
    return wanted / np.linalg.norm(d)


def bounded(number, typical):
    return min(number, 10 * typical) if typical else number


def oracle(gradients, directions, values, w, first, longest=None):
    """Step sizes and points from the formulas, in float64; all directions descend."""
    mean, averaged, climb, climbed = w, 0, 0.0, False
    recent, typical, last = 0.0, 0.0, values[0]
    mean_slope = mean_size = 0.0
    mean_value = early = values[0]
    step_size, steps = first, []
    k = 0
    for g, d, value in zip(gradients, directions, values, strict=True):
        slope, change = float(g @ d), abs(value - last)
        if k > 0:
            terms = g * (w - mean)
            size = np.sum(np.abs(terms))
            beta = min(DECAY, 1 - 1 / averaged)
            one = np.sum(terms) / size if size else -1
            climb = beta * climb + (1 - beta) * one
            size = bounded(size, mean_size) if size else mean_size
            mean_slope = beta * mean_slope + (1 - beta) * one * size
            mean_size = beta * mean_size + (1 - beta) * size
            if typical and change:
                moved = bounded(change, typical)
                typical = DECAY * typical + (1 - DECAY) * moved
            typical = typical or change
            above = value - mean_value
            above = math.copysign(bounded(abs(above), typical), above)
            mean_value += max(1 - DECAY, 1 / (k + 1)) * above
            early = mean_value if k < MEMORY._EARLY else early
            diverges = mean_value - early > typical
            by_size = mean_slope / mean_size if mean_size else -1
            larger = max(climb, by_size - TOLERANCE / 2)
            climbed = climbed or larger > TOLERANCE
            done = climbed or early - mean_value > RULE._FALLEN * typical
            step_size *= 0.5 if diverges else math.exp(changed(larger, done, k))
            if diverges:
                climb, climbed, k = 1.0, False, 1
        elif first is None:
            step_size = first_step(d, w)
        applied = step_size
        if typical > 0:
            seen = max(typical, bounded(change, typical))
            applied = min(applied, RULE._MOST_CHANGES * seen / -slope)
        aligned = -slope / np.linalg.norm(g) / np.linalg.norm(d)
        if longest and k > 0 and (1 + climb) * (1 - aligned) > 0:
            room = max(longest * np.linalg.norm(w), 1e-3 * math.sqrt(len(w)))
            room /= (1 + climb) * (1 - aligned)
            applied = min(applied, room / np.linalg.norm(d))
        if climb > 3 * TOLERANCE:
            averaged = 0
        mean = mean + (w - mean) * 2 / (max(averaged, 1) + 1)
        recent = max(applied, DECAY * recent)
        step_size = min(step_size, 2 * recent)
        w, last, averaged, k = w + applied * d, value, averaged + 1, k + 1
        steps.append((applied, w))
    return steps


@functools.cache
def program(first, longest):
    """``hindsight`` over a run: the start, and the compiled steps."""
    tx = optaxls.scale_by_initial_step(
        optaxls.hindsight(RATE, TOLERANCE, DECAY, first, longest)
    )

    def body(carry, batch):
        w, state = carry
        g, d, value = batch
        updates, state = tx.update(d, state, w, value=value, grad=g)
        return (w + updates, state), (state.step_size, w + updates)

    return tx.init, jax.jit(lambda c, b: jax.lax.scan(body, c, b)[1])


def ours(gradients, directions, values, w, first, dtype=jnp.float64, longest=None):
    """Step sizes and points of ``hindsight`` along the given directions."""
    init, run = program(first, longest)
    w = jnp.asarray(w, dtype)
    batches = (gradients, directions, values)
    batches = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), batches)
    return jax.tree.map(np.asarray, run((w, init(w)), batches))


def drawn(seed, length=60):
    """A random run of gradients, directions that descend, losses, and a start."""
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((length, 4)) * np.exp(
        rng.standard_normal((length, 1))
    )
    gradients[20] *= 1e6
    values = rng.standard_normal(length)
    values[10] *= 1e6
    # Equal losses of two batches, and one step that promises a million.
    values[30:33] = values[30]
    directions = -gradients * rng.uniform(0.1, 2, (length, 4))
    directions[40] *= 1e6
    return gradients, directions, values, rng.standard_normal(4)


@pytest.mark.slow
@pytest.mark.parametrize("longest", [None, 0.01])
@pytest.mark.parametrize("start", ["given", "from the params", "from zero"])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_formula(seed, start, longest):
    gradients, directions, values, w = drawn(seed)
    # The first step does not ask for the params that it does not move.
    directions[0, 1] = 0
    first = FIRST if start == "given" else None
    w = w * (start != "from zero") + np.array([0, 7, 0, 0])
    with jax.enable_x64(True):
        steps, points = ours(gradients, directions, values, w, first, longest=longest)
    expected = oracle(gradients, directions, values, w, first, longest)
    for step, w, (wanted, point) in zip(steps, points, expected, strict=True):
        assert step == pytest.approx(wanted, rel=1e-9)
        np.testing.assert_allclose(w, point, rtol=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 999), st.integers(-30, 30), st.integers(-(2**20), 2**20))
def test_neither_scale_nor_shift_of_the_loss_changes_a_step(seed, power, shift):
    """The numbers are such that neither rounds: not one bit changes."""
    gradients, directions, values, w = drawn(seed, 42)
    values, scale = np.round(values * 8) / 8, 2.0**power
    with jax.enable_x64(True):
        plain = ours(gradients, directions, values, w, None)
        other = scale * gradients, directions, scale * (values + shift), w
        np.testing.assert_array_equal(ours(*other, None)[0], plain[0])


def test_the_first_step_of_a_tree_counts_what_it_moves():
    w = {"moved": jnp.array([3.0 + 4.0j]), "frozen": jnp.ones(9), "n": jnp.arange(3)}
    d = {"moved": jnp.array([-0.1 + 0.0j]), "frozen": jnp.zeros(9), "n": jnp.zeros(3)}
    d |= {"n": jnp.zeros(3, int)}
    g = {"moved": -d["moved"], "frozen": jnp.ones(9), "n": d["n"]}
    tx = optaxls.scale_by_initial_step(optaxls.hindsight())
    updates, _ = tx.update(d, tx.init(w), w, value=jnp.array(-3.0), grad=g)
    wanted = RULE._RELATIVE_LENGTH * 5
    assert jnp.abs(updates["moved"][0]) == pytest.approx(wanted, rel=1e-5)


def trained(step_size, noise=0.0, num_steps=400, changed_at=None):
    """Step sizes on |w - c|^2 / 2 with gradient noise, and distances from c.

    From ``changed_at`` on the loss is a hundredth, and c is far away.
    """
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=step_size))

    def body(carry, inputs):
        w, state = carry
        key, k = inputs
        later = False if changed_at is None else k >= changed_at
        scale = jnp.where(later, 1e-2, 1.0)
        center = jnp.where(later, 300.0, 0.0)
        z = center + noise * jax.random.normal(key, w.shape)
        value, g = jax.value_and_grad(lambda w: scale * jnp.sum((w - z) ** 2) / 2)(w)
        updates, state = tx.update(-g, state, w, value=value, grad=g)
        return (w + updates, state), (state.step_size, jnp.max(jnp.abs(w - center)))

    w = jnp.ones(10)
    keys = jax.random.split(jax.random.key(0), num_steps)
    inputs = (keys, jnp.arange(num_steps))
    return jax.lax.scan(body, (w, tx.init(w)), inputs)[1]


def test_a_short_step_grows():
    steps, distance = trained(1e-5)
    assert steps[60] > 1e3 * 1e-5 and distance[200] < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("held_for, fast", [(20, True), (200, False)])
def test_a_step_that_a_cap_held_back_grows_fast_if_the_loss_has_hardly_fallen(
    held_for, fast
):
    """The loss is a line, so that each step lowers it by the step size."""
    free = optaxls.hindsight(initial_step_size=1e-3)
    w, g = jnp.array([1.0]), jnp.array([1.0])
    state = optaxls.scale_by_initial_step(free).init(w)
    for rule, count in ((optaxls.capped(free, 1e-3), held_for), (free, 60)):
        tx = optaxls.scale_by_initial_step(rule)
        update = jax.jit(lambda w, s, tx=tx: tx.update(-g, s, w, value=w[0], grad=g))
        for _ in range(count):
            updates, state = update(w, state)
            w = w + updates
    # At the rate of the 200th step it would grow by 1.3.
    assert (state.step_size > 1e3 * 1e-3) == fast
    assert state.step_size > 1.1e-3


@pytest.mark.slow
def test_a_step_that_is_far_too_short_grows_late_in_a_run_too():
    steps, distance = trained(0.3, noise=0.3, num_steps=2000, changed_at=1000)
    # The loss that rose halves the step size first, and makes the rule young again.
    before = jnp.median(steps[900:1000])
    assert jnp.max(steps[1000:]) > 10 * before
    assert distance[-1] < 0.1 * distance[1000]


@pytest.mark.slow
def test_a_step_that_is_far_too_long_shrinks():
    for noise in (0.0, 1.0):
        steps, distance = trained(2.5, noise, 1000)
        assert steps[-1] < 0.8 * steps[0]
        assert distance[-1] < 2 * noise + 1e-2


def test_few_batches_with_large_gradients_shorten_the_steps():
    """One batch in ten climbs, a thousand times as steep as the others go down."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.1))
    w, steps = jnp.array([0.0]), []
    state = tx.init(w)
    update = jax.jit(lambda g, w, s: tx.update(-jnp.sign(g), s, w, value=0.0, grad=g))
    for k in range(400):
        g = jnp.array([-1.0 if k % 10 == 9 else 1e-3])
        updates, state = update(g, w, state)
        w = w + updates
        steps.append(float(state.step_size))
    memory = state.initial_step
    assert memory.climb < -0.5 and memory.mean_slope > 0.5 * memory.mean_size
    assert steps[-1] < 0.7 * max(steps)


def test_an_old_overshoot_does_not_drive_the_step_to_zero():
    """Something else moves the params up, where the loss is a line that climbs."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e-4))
    w, g, steps = jnp.array([0.0]), jnp.array([1.0]), []
    state = tx.init(w)
    update = jax.jit(lambda w, s: tx.update(-g, s, w, value=w[0], grad=g))
    for k in range(400):
        w = w + (k == 10)
        updates, state = update(w, state)
        w = w + updates
        steps.append(float(state.step_size))
    assert min(steps) > 0.5 * 1e-4 and w[0] < 0


def test_bf16_params_have_a_float32_mean_that_moves():
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1.0))
    w = jnp.array([256.0], jnp.bfloat16)
    state, points = tx.init(w), []
    for value in (4.0, 3.0, 2.0, 1.0):
        points.append(float(w[0]))
        d = jnp.array([2.0], w.dtype)
        updates, state = tx.update(d, state, w, value=jnp.array(1e6 * value), grad=-w)
        w = w + updates
    mean = state.initial_step.mean_params
    assert mean.dtype == jnp.float32
    # bfloat16 holds even numbers only there.
    assert points[0] < points[1] < points[2] < points[3] and mean[0] % 2
    assert mean[0] == pytest.approx(np.average(points, weights=range(4)), rel=1e-6)


@pytest.mark.slow
def test_a_step_that_rounding_undoes_grows():
    """In bfloat16 the first 1e-6 steps move nothing."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e-6))
    w = jnp.ones(3, jnp.bfloat16)
    state = tx.init(w)
    for k in range(100):
        updates, state = tx.update(-w, state, w, value=jnp.sum(w**2) / 2, grad=w)
        w = optax.apply_updates(w, updates)
        assert k > 20 or jnp.all(w == 1)
    assert jnp.all(w < 0.1)


def along_a_line(values, factors=None, step_size=0.1, rule=None, state=None):
    """States of ``hindsight`` where the gradient is a constant; ``factors`` of it."""
    rule = rule or optaxls.hindsight(initial_step_size=step_size)
    tx = optaxls.scale_by_initial_step(rule)
    w, states = jnp.array([1.0]), []
    if state is None:
        state = tx.init(w)
    else:
        # Further down than the mean.
        w = state.initial_step.mean_params - w
    update = jax.jit(lambda w, s, v, g: tx.update(-g, s, w, value=v, grad=g))
    factors = factors or [1.0] * len(values)
    for value, factor in zip(values, factors, strict=True):
        g = jnp.array([factor])
        updates, state = update(w, state, jnp.float32(value), g)
        w = w + updates
        states.append(state)
    return states


def test_a_batch_that_promises_too_much_moves_little():
    values = [1.0, 1.1, 1.0, 1.1, 1.05, 1.1, 1.0]
    states = along_a_line(values, [1.0, 1.0, 1.0, 1.0, 1e3, 1.0, 1.0], 0.01)
    promised = [float(-state.step_size * state.slope) for state in states]
    typical = float(states[4].initial_step.mean_change)
    assert 0.05 < typical < 0.1
    assert promised[4] == pytest.approx(RULE._MOST_CHANGES * typical, rel=1e-4)
    # Only that batch is held back.
    kept = [float(state.initial_step.hindsight_step) for state in states]
    for k in (0, 1, 2, 3, 5, 6):
        assert states[k].step_size == kept[k]


@pytest.mark.parametrize("values", [[1.0] * 50 + [0.0] * 300, [0.0] * 350])
def test_losses_of_exactly_zero_do_not_shorten_later_steps(values):
    """A softmax rounds to 0 while its gradient does not; then the labels change."""
    states = along_a_line([*values, 15.0])
    assert states[-1].step_size > 0.1


@pytest.mark.parametrize("value", [0.0, 7.0, -1e6])
def test_a_loss_that_never_changes_shortens_nothing(value):
    states = along_a_line([value] * 60)
    assert all(s.step_size > 0.1 for s in states[1:])
    assert states[-1].initial_step.mean_change == 0
    # Downhill for ever: it grows at its fast rate.
    assert states[-1].step_size > 1e3


@pytest.mark.slow
def test_a_loss_may_become_negative():
    """On a line through 0, without noise, a Polyak step would end at 0."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=0.3))
    w, g = jnp.array([1.0]), jnp.array([1.0])
    state = tx.init(w)
    for _ in range(60):
        updates, state = tx.update(-g, state, w, value=w[0], grad=g)
        w = w + updates
    assert w[0] < -1e3


def test_a_step_that_is_held_back_does_not_grow_meanwhile():
    rule = optaxls.capped(optaxls.hindsight(initial_step_size=1.0), 0.1)
    # Downhill for ever: it would grow.
    for state in along_a_line([1.0 - k for k in range(20)], rule=rule):
        assert state.step_size == pytest.approx(0.1)
        assert 0.1 < state.initial_step.hindsight_step <= 0.2001


def test_one_exploded_batch_counts_as_one_batch_in_the_climb():
    w, steps = np.ones(2), {}
    for scale in (1.0, 1e8):
        rng = np.random.default_rng(0)
        gradients = rng.standard_normal((40, 2))
        gradients[20] *= scale
        directions, values = -gradients / scale, rng.standard_normal(40)
        steps[scale] = ours(gradients, directions, values, w, FIRST, np.float32)[0]
    np.testing.assert_array_less(0.3 * steps[1.0][25:], steps[1e8][25:])


@pytest.mark.slow
def test_steps_that_let_the_loss_rise_above_its_start_become_short():
    """Each step is a little too long: the loss rises by a third, for ever."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=2.1))
    w = jnp.array([1.0, -1.0])
    state, losses = tx.init(w), []
    # In half of the coordinates the offset goes down, so that it does not climb.
    for _ in range(200):
        value, grad = jax.value_and_grad(lambda w: 0.5 * jnp.sum(w**2))(w)
        updates, state = tx.update(-grad, state, w, value=value, grad=grad)
        w = w + updates
        losses.append(float(value))
    assert losses[-1] < 1e-3 * losses[0]
