"""Momentum after a search: as optax.trace, until it makes the losses climb."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from optaxls.directions._momentum import resting_trace
from tests.problems import least_squares

OPTIMIZERS = {
    "polyak": optaxls.sls_momentum,
    "nesterov": functools.partial(optaxls.sls_momentum, variant="nesterov"),
    "heavy_ball": functools.partial(
        optaxls.adam_sls, steps_per_epoch=5, momentum="heavy_ball", b1=0.6
    ),
    "adam_nesterov": functools.partial(
        optaxls.adam_sls, steps_per_epoch=5, momentum="nesterov", b1=0.6
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "polyak",
        "nesterov",
        pytest.param("heavy_ball", marks=pytest.mark.slow),
        pytest.param("adam_nesterov", marks=pytest.mark.slow),
    ],
)
def test_consistent_least_squares_are_solved(name):
    """40 equations, 80 unknowns, batches of 8: momentum alone diverges on these."""
    optimizer = OPTIMIZERS[name]()

    @jax.jit
    def losses(seed):
        rows, targets, _ = least_squares(40, 80, seed)

        def loss(w, batch=slice(None)):
            return 0.5 * jnp.mean((rows[batch] @ w - targets[batch]) ** 2)

        step = optaxls.make_step(loss, optimizer)

        def body(carry, key):
            batch = jax.random.permutation(key, 40)[:8]
            carry = step(*carry, batch)[:2]
            return carry, loss(carry[0])

        w = jnp.zeros(80)
        keys = jax.random.split(jax.random.key(seed), 2000)
        _, found = jax.lax.scan(body, (w, optimizer.init(w)), keys)
        return loss(w), found

    for seed in range(3):
        start, found = losses(seed)
        assert jnp.all(jnp.isfinite(found))
        assert found[-1] < 1e-4 * start
        assert jnp.max(found) < 1e3 * start


def run(tx, values, updates=1.0):
    """Of one param: the updates and states over the given losses."""
    state = tx.init(jnp.zeros(()))
    moved, states = [], []
    for value in values:
        u, state = tx.update(
            jnp.float32(updates), state, value=jnp.float32(value), grad=None
        )
        moved.append(float(u))
        states.append(state)
    return moved, states


@pytest.mark.parametrize("nesterov", [False, True])
def test_it_is_optax_trace_while_the_losses_fall(nesterov):
    tx = resting_trace(0.6, nesterov)
    moved, states = run(tx, [5.0, 7.0, 4.0, 6.0] + [3.0] * 8 + [6.5] * 30)
    theirs = optax.trace(0.6, nesterov)
    state = theirs.init(jnp.zeros(()))
    for ours in moved:
        u, state = theirs.update(jnp.float32(1.0), state)
        assert ours == pytest.approx(float(u))
    assert not states[-1].resting and states[-1].decay_factor == 1


def test_it_rests_while_the_losses_are_high_and_is_half_as_strong_after():
    tx = resting_trace(0.6)
    moved, states = run(tx, [2.0, 1.0] * 5 + [50.0] * 3 + [1.0] * 60)
    resting = [bool(state.resting) for state in states]
    assert resting[9] is False and resting[10] is True and resting[-1] is False
    first, last = resting.index(True), len(resting) - resting[::-1].index(True)
    assert all(resting[first:last]), "one rest, without a break"
    assert moved[first:last] == [1.0] * (last - first)
    assert moved[-1] == pytest.approx(1 / (1 - 0.3), rel=1e-4)
    assert states[-1].decay_factor == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "scale"), [(-1e3, 1.0), (40.0, 1.0), (0.0, 1e-6)])
def test_shifted_and_scaled_losses_give_the_same_updates(shift, scale):
    values = [2.0, 1.0] * 5 + [50.0] * 3 + [1.0] * 60
    plain, _ = run(resting_trace(0.6), values)
    other, _ = run(resting_trace(0.6), [scale * (v + shift) for v in values])
    assert plain == pytest.approx(other)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_no_loss(bad):
    tx = resting_trace(0.6)
    _, states = run(tx, [2.0, 1.0] * 6 + [bad])
    chex.assert_trees_all_equal(
        states[-1]._replace(trace=0.0), states[-2]._replace(trace=0.0)
    )
