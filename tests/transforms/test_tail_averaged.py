"""The average of the tail: its weights, its dtypes; how a region of NaN is left."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

NAN, INF = float("nan"), float("inf")


def moved_by(points, power=8.0, dtype=jnp.float32):
    """The state and the params after steps that end in the given points."""
    tx = optaxls.tail_averaged(
        optaxls.scale_by_initial_step(optaxls.constant(1.0)), power
    )
    w = jnp.asarray(points[0], dtype)
    state = tx.init(w)
    for point in points[1:]:
        d = jnp.asarray(point, dtype) - w
        updates, state = tx.update(d, state, w, value=jnp.array(1.0), grad=-d)
        w = optax.apply_updates(w, updates)
    return state, w


def weighted_mean(points, power):
    """The j-th of k points has the weight j (j + 1) ... (j + p - 1)."""
    weights = [math.comb(j + power - 1, power) for j in range(1, len(points) + 1)]
    return np.average(points, axis=0, weights=weights)


@pytest.mark.parametrize("power", [0, 1, 8])
def test_it_is_the_weighted_mean_of_all_params_the_present_ones_included(power):
    points = np.random.default_rng(0).standard_normal((30, 3))
    for k in (1, 2, 3, 30):
        state, w = moved_by(points[:k], power)
        found = optaxls.eval_params(state, w)
        np.testing.assert_allclose(found, weighted_mean(points[:k], power), 1e-5, 1e-6)
        assert state.num_in_tail == k - 1
    np.testing.assert_allclose(
        state.tail_mean, weighted_mean(points[:-1], power), 1e-5, 1e-6
    )


def test_power_0_is_the_plain_mean():
    points = np.arange(10.0)[:, None]
    assert optaxls.eval_params(*moved_by(points, 0.0)) == pytest.approx(4.5)


def test_half_of_the_weight_is_on_the_last_thirteenth():
    points = np.repeat([[0.0], [1.0]], [1200, 100], axis=0)
    assert weighted_mean(points, 8)[0] == pytest.approx(0.5, abs=0.03)


def test_the_average_of_bfloat16_params_moves_and_is_returned_in_their_dtype():
    # At 256 bfloat16 holds even numbers only.
    points = 256 + 2 * np.arange(40.0)[:, None]
    state, w = moved_by(points, 0.0, jnp.bfloat16)
    assert state.tail_mean.dtype == jnp.float32
    assert state.tail_mean[0] == pytest.approx(256 + 38, rel=1e-4)
    found = optaxls.eval_params(state, w)
    assert found.dtype == jnp.bfloat16 and abs(found[0] - 295) <= 1


def test_an_optimizer_without_an_average_evaluates_its_params():
    w = jnp.ones(2)
    assert optaxls.eval_params(optax.adam(0.1).init(w), w) is w
    assert optaxls.eval_params(optaxls.sls(steps_per_epoch=1).init(w), w) is w


def test_two_averages_are_refused():
    w, tx = jnp.ones(2), optaxls.auto()
    with pytest.raises(ValueError, match="holds 2 of them"):
        optaxls.eval_params((tx.init(w), tx.init(w)), w)


def test_what_has_no_step_size_is_refused():
    with pytest.raises(TypeError, match="tail_averaged: step_rule must hold"):
        optaxls.tail_averaged(optax.scale(-0.1)).init(jnp.ones(2))
    with pytest.raises(ValueError, match="power"):
        optaxls.tail_averaged(optaxls.sls(steps_per_epoch=1), -1.0)


def through(values):
    """Params and states of steps with the given losses; bad ones have bad gradients."""
    w = {"w": jnp.array([1.0, -2.0]), "n": jnp.array([3, 4])}
    tx = optaxls.auto()
    state, told = tx.init(w), []
    update = jax.jit(tx.update)
    for value in values:
        g = w["w"] if np.isfinite(value) else jnp.full(2, value)
        grad = {"w": g, "n": jnp.zeros(2, int)}
        updates, state = update(grad, state, w, value=jnp.float32(value), grad=grad)
        w = optax.apply_updates(w, updates)
        told.append((w, state))
    return told


def averaged(state):
    """How many iterates are in the average."""
    return int(optax.tree.get(state, "num_in_tail"))


def step_size_of(state):
    return float(optax.tree.get(state, "hindsight_step"))


@pytest.mark.slow
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_single_bad_batch_moves_nothing(bad):
    told = through([5.0, 4.0, 3.0, bad, 2.0, bad, 1.0])
    for k in (3, 5):
        (before, memory), (after, now) = told[k - 1], told[k]
        np.testing.assert_array_equal(after["w"], before["w"])
        for name in ("tail_mean", "initial_step", "direction"):
            kept = optax.tree.get(memory, name)
            jax.tree.map(np.testing.assert_array_equal, optax.tree.get(now, name), kept)
        assert averaged(memory) == averaged(now)
    counts = [int(optax.tree.get(s, "num_non_finite")) for _, s in told]
    assert counts == [0, 0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("bad", [NAN, INF])
def test_after_two_bad_batches_the_params_go_back_to_the_average(bad):
    told = through([5.0, 4.0, 3.0, bad, bad, bad, bad, 2.0])
    (_, before), (after, state) = told[2], told[4]
    mean = optax.tree.get(before, "tail_mean")
    np.testing.assert_allclose(after["w"], mean["w"], rtol=1e-6)
    assert after["n"].tolist() == [3, 4]
    assert step_size_of(state) == pytest.approx(step_size_of(before) / 2)
    # And once more, if they are not enough.
    assert step_size_of(told[6][1]) == pytest.approx(step_size_of(before) / 4)
    counts = [int(optax.tree.get(s, "num_non_finite")) for _, s in told]
    assert counts == [0, 0, 0, 1, 0, 1, 0, 0]
    assert jnp.any(told[7][0]["w"] != told[6][0]["w"])


@pytest.mark.slow
def test_before_the_first_finite_loss_nothing_is_taken_back():
    told = through([NAN] * 5 + [3.0, 2.0])
    for w, _ in told[:5]:
        assert w["w"].tolist() == [1.0, -2.0]
    assert jnp.all(jnp.abs(told[-1][0]["w"]) < jnp.array([1.0, 2.0]))
    assert averaged(told[-1][1]) == 2


def test_integers_that_change_meanwhile_are_evaluated_as_they_are():
    tx = optaxls.auto()
    w = {"w": jnp.ones(2), "epoch": jnp.array(0)}
    state = tx.init(w)
    for epoch in (1, 2, 3):
        grad = {"w": w["w"], "epoch": jnp.array(0)}
        updates, state = tx.update(grad, state, w, value=jnp.array(1.0), grad=grad)
        w = optax.apply_updates(w, updates) | {"epoch": jnp.array(epoch)}
    assert optaxls.eval_params(state, w)["epoch"] == 3


def test_the_average_of_a_part_of_the_params_is_evaluated():
    """As in fine-tuning, where the rest is frozen."""
    rule = optaxls.on_subset(optaxls.auto(), {"w": True, "frozen": False})
    w = {"w": jnp.ones(2), "frozen": jnp.ones(3)}
    state = rule.init(w)
    step = optaxls.make_step(lambda w: jnp.sum(w["w"] ** 2) / 2, rule)
    for _ in range(3):
        w, state, *_ = step(w, state)
    found = optaxls.eval_params(state, w)
    assert found["frozen"].tolist() == [1.0] * 3
    assert jnp.all((found["w"] > w["w"]) & (found["w"] < 1))


# Losses that are finite on a part of the space only; each minimum is at 1.
NARROW = {
    "logarithm": lambda w, z: jnp.mean(w - jnp.log(w - z) + z),
    "root": lambda w, z: jnp.mean((w + z) - 2 * jnp.sqrt(w)),
}


def trained(loss, rule, noise, num_steps=600):
    """Params, averages, and how many of the losses were finite."""
    step = optaxls.make_step(loss, rule)

    def run(key):
        def one(carry, key):
            z = noise * (jax.random.uniform(key, (8, 3)) - 0.5)
            result = step(*carry, z)
            return (result.params, result.opt_state), jnp.isfinite(result.value)

        w = jnp.full(3, 3.0)
        keys = jax.random.split(key, num_steps)
        (w, state), finite = jax.lax.scan(one, (w, rule.init(w)), keys)
        return w, optaxls.eval_params(state, w), finite

    return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 4))


def far_too_long():
    rule = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e3))
    return optax.chain(optax.scale(-1.0), optaxls.tail_averaged(rule))


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", NARROW)
def test_a_region_of_nan_is_left_again_and_training_converges(name, noise):
    w, mean, finite = trained(NARROW[name], far_too_long(), noise)
    assert not jnp.all(finite) and jnp.all(jnp.mean(finite, axis=1) > 0.9)
    np.testing.assert_allclose(mean, 1, atol=0.02)
    np.testing.assert_allclose(w, 1, atol=0.1)


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", NARROW)
def test_auto_trains_next_to_a_region_of_nan(name, noise):
    _, mean, finite = trained(NARROW[name], optaxls.auto(), noise)
    assert jnp.all(jnp.mean(finite, axis=1) > 0.9)
    np.testing.assert_allclose(mean, 1, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sls", "auto"])
def test_any_optimizer_with_a_step_size_may_be_wrapped(name):
    inner = optaxls.sls(steps_per_epoch=10) if name == "sls" else optaxls.auto()
    rule = optaxls.tail_averaged(inner) if name == "sls" else inner
    step = jax.jit(
        optaxls.make_step(lambda w: jnp.sum((w - 1) ** 2), rule), donate_argnums=(0, 1)
    )
    w = jnp.zeros(3)
    state = rule.init(w)
    kinds = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]
    for _ in range(150):
        # Buffers that were given away are not needed any more.
        w, state, *_ = step(w, state)
    np.testing.assert_allclose(optaxls.eval_params(state, w), 1, atol=1e-2)
    assert kinds == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]
