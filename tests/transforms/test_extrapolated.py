"""Extrapolation from the mean iterate: its formula, and what it must never do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

NAN = float("nan")
VALUE = jnp.array(1e6)  # far from 0: no brake


def rule(step_size=0.1):
    return optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=step_size))


def run(tx, gradients, w):
    """The points, the step sizes and the shares of the way in the updates."""
    state, points, steps = tx.init(w), [w], []
    for g in gradients:
        updates, state = tx.update(-g, state, w, value=VALUE, grad=g)
        w = w + updates
        points.append(w)
        steps.append(state.step_size)
    return points, steps


def test_it_is_schedule_free_averaging_with_beta_one_half():
    """w lies half way between z, which takes twice the steps, and the mean of the z."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        # Almost constant, so that the way never climbs and the share is never cut.
        gradients = jnp.asarray(1 + 0.1 * rng.random((12, 3)))
        points, steps = run(optaxls.extrapolated(rule()), gradients, jnp.zeros(3))
    # The first step starts the mean.
    z = mean = np.asarray(points[1])
    for k in range(1, 12):
        z = z - 2 * (k + 1) / (k + 2) * np.asarray(steps[k] * gradients[k])
        mean = mean + (z - mean) / (k + 1)
        np.testing.assert_allclose(points[k + 1], (z + mean) / 2, rtol=1e-12)


def test_it_adds_a_share_of_the_way_from_the_mean():
    gradients = [jnp.array([1.0, 2.0])] * 6
    points, steps = run(optaxls.extrapolated(rule()), gradients, jnp.zeros(2))
    for k in range(1, 6):
        seen = np.stack(points[1 : k + 1])
        mean = np.average(seen, axis=0, weights=np.arange(1, k + 1))
        wanted = points[k] - steps[k] * gradients[k] + (points[k] - mean) / (k + 1)
        np.testing.assert_allclose(points[k + 1], wanted, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_steps_decrease_is_left(seed):
    rng = np.random.default_rng(seed)
    tx, w = optaxls.extrapolated(rule(0.01)), jnp.zeros(4)
    state = tx.init(w)
    for k in range(40):
        # A sudden turn: the way so far climbs.
        g = jnp.asarray(rng.standard_normal(4) + (3 if k < 20 else -3), jnp.float32)
        updates, state = tx.update(-g, state, w, value=VALUE, grad=g)
        w = w + updates
        assert g @ updates <= 0.499 * state.step_size * state.slope


def test_a_step_that_is_not_made_is_not_extrapolated():
    tx, w = optaxls.extrapolated(rule()), jnp.ones(2)
    state = tx.init(w)
    for _ in range(5):
        updates, state = tx.update(-w, state, w, value=VALUE, grad=w)
        w = w + updates
    updates, after = tx.update(-w, state, w, value=jnp.array(NAN), grad=w)
    assert not updates.any()
    before = state.initial_step
    jax.tree.map(np.testing.assert_array_equal, after.initial_step, before)


def test_around_a_chain_it_is_the_same():
    gradients = [jnp.array([1.0, 2.0])] * 6
    points, _ = run(optaxls.extrapolated(rule()), gradients, jnp.zeros(2))
    chain = optaxls.extrapolated(optax.chain(optax.scale(-1.0), rule()))
    w = jnp.zeros(2)
    state = chain.init(w)
    for g, point in zip(gradients, points[1:], strict=True):
        updates, state = chain.update(g, state, w, value=VALUE, grad=g)
        w = w + updates
        np.testing.assert_array_equal(w, point)


@pytest.mark.parametrize("chained", [False, True])
def test_it_needs_a_mean(chained):
    step_rule = optaxls.scale_by_initial_step(optaxls.constant(0.1))
    if chained:
        step_rule = optax.chain(optax.scale(-1.0), step_rule)
    tx = optaxls.extrapolated(step_rule)
    with pytest.raises(TypeError, match="hindsight"):
        tx.init(jnp.ones(2))
