"""Two directions of one step: on any path, with any pair, under any rule."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests.engine.test_paths import BOX, PATHS
from tests.engine.test_paths import watched as watched_step

W = jnp.array([1.5, 0.2])
GOAL = jnp.array([-100.0, 100.0])


def loss(w, goal=GOAL):
    return 0.5 * jnp.sum((w - goal) ** 2)


def searched(path="box", **arguments):
    return optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.grow(1.0, 2.0), path=PATHS[path], **arguments
    )


def trajectory(tx, w=W, steps=8, goals=None):
    """Params and states, of one compiled program; a goal for every step."""
    goals = jnp.broadcast_to(GOAL, (steps, 2)) if goals is None else goals

    def step(carry, goal):
        w, state = carry
        value, grad = jax.value_and_grad(loss)(w, goal)
        updates, state = tx.update(
            grad,
            state,
            w,
            value=value,
            grad=grad,
            value_fn=lambda at: loss(at, goal),
        )
        w = optax.apply_updates(w, updates)
        return (w, state), (w, state, updates)

    return jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), goals)[1])(w)


class HeavyState(NamedTuple):
    mean: jax.Array


def heavy(b1=0.9):
    """Searched along minus the gradient, applied along a mean of those."""

    def update(grads, state, params, **extra):
        del params, extra
        mean = b1 * state.mean + (1 - b1) * grads
        return optaxls.Directions(-grads, -10 * mean), HeavyState(mean)

    return optaxls.DirectionPair(lambda w: HeavyState(jnp.zeros_like(w)), update)


RULES = {
    "searched": searched,
    "in a chain": lambda: optax.chain(searched()),
    "gated": lambda: searched(gate=optaxls.first(2)),
    "untested": lambda: optaxls.scale_by_initial_step(
        optaxls.constant(3.0), path=PATHS["box"]
    ),
}
APPLIED = [optaxls.with_momentum, optaxls.as_searched]


RUNS = [
    pytest.param(pair, rule, applied, marks=[] if quick else pytest.mark.slow)
    for pair in ("adam", "heavy")
    for rule in RULES
    for applied in APPLIED
    for quick in [
        applied is APPLIED[rule == "gated"] and (pair == "adam") ^ (rule == "untested")
    ]
]


@pytest.mark.slow(one_in=4)
@pytest.mark.parametrize(("pair", "rule", "applied"), RUNS)
def test_momentum_stays_inside_of_the_box(pair, rule, applied):
    """The step size multiplies the other direction along the same path."""
    if pair == "adam":
        tx = optaxls.scale_by_preconditioned_search(
            RULES[rule](), b1=0.9, b2=0.9, applied=applied
        )
    else:
        tx = optaxls.two_directions(heavy(), RULES[rule](), applied=applied)
    w, state, _ = trajectory(tx)
    assert jnp.all((w >= BOX[0] - 1e-6) & (w <= BOX[1] + 1e-6))
    assert jnp.allclose(w[-1], jnp.array(BOX)), "the corner nearest to the goal"
    assert jnp.any(optax.tree.get(state, "step_size") > 0)


def test_a_rule_in_a_chain_makes_the_same_steps():
    alone = trajectory(optaxls.scale_by_preconditioned_search(searched(), b1=0.9))
    chained = trajectory(
        optaxls.scale_by_preconditioned_search(optax.chain(searched()), b1=0.9)
    )
    chex.assert_trees_all_close(alone[0], chained[0])


def test_what_is_not_tested_has_no_trial_value():
    """And as_searched has one, that of the params that it leads to."""
    goals = jnp.array([[1.0, 1.0], [0.0, 1.0], [1.0, -0.2], [0.5, 0.5]])
    for applied in APPLIED:
        tx = optaxls.two_directions(heavy(), searched(), applied=applied)
        w, state, updates = trajectory(tx, goals=goals)
        rule = state.step_rule
        if applied is optaxls.with_momentum:
            assert jnp.all(jnp.isnan(rule.trial_value) | (rule.step_size == 0))
        else:
            found = jax.vmap(loss)(w, goals)
            assert jnp.allclose(rule.trial_value, found, rtol=1e-5)
        assert jnp.all(jnp.any(updates != 0, axis=1) <= (rule.step_size > 0))


class ToldState(NamedTuple):
    accepted: jax.Array
    displacement: jax.Array
    step_size: jax.Array


def told_pair(**directions):
    """A pair that keeps what it is told of the step."""

    def init(params):
        none = jnp.zeros((), jnp.int32)
        return ToldState(none, jnp.zeros_like(params), jnp.zeros(()))

    def update(grads, state, params, **extra):
        del params, extra
        second = directions.get("applied", lambda g: -0.5 * g)(grads)
        return optaxls.Directions(-grads, second), state

    def tell(state, displacement, report, params, *, value, grad, value_fn):
        del params, value, grad, value_fn
        count = state.accepted + report.accepted.astype(jnp.int32)
        return ToldState(count, displacement, report.step_size)

    return optaxls.DirectionPair(init, update, tell)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["along_direction", "box"])
def test_tell_gets_the_step_that_was_applied(path):
    """Under jit and scan, also of a batch that is not a number."""
    nan = jnp.full((2,), jnp.nan)
    goals = jnp.array([[1.0, 1.0], [0.0, 1.0], nan, [1.0, -0.2], nan, [0.5, 0.5]])
    tx = optaxls.two_directions(told_pair(), searched(path))
    first = tx.init(W)
    _, state, updates = trajectory(tx, goals=goals)
    chex.assert_trees_all_equal(state.pair.displacement, updates)
    chex.assert_trees_all_equal(state.pair.step_size, state.step_rule.step_size)
    accepted = jnp.cumsum(state.step_rule.accepted)
    assert state.pair.accepted.tolist() == accepted.tolist() == [1, 2, 2, 3, 3, 4]
    chex.assert_trees_all_equal_shapes_and_dtypes(
        first, jax.tree.map(lambda leaf: leaf[-1], state)
    )


def test_eager_steps_tell_the_same_as_compiled_ones():
    tx = optaxls.two_directions(told_pair(), searched())
    w, state = W, tx.init(W)
    for _ in range(3):
        value, grad = jax.value_and_grad(loss)(w)
        updates, state = tx.update(
            grad, state, w, value=value, grad=grad, value_fn=loss
        )
        w = optax.apply_updates(w, updates)
        chex.assert_trees_all_equal(state.pair.displacement, updates)
    compiled, states, _ = trajectory(tx, steps=3)
    assert jnp.allclose(w, compiled[-1])
    assert state.pair.accepted == states.pair.accepted[-1] == 1, "then the corner"


def test_one_direction_twice_is_the_tested_trial():
    """Where both are the same object nothing is untested."""

    def update(grads, state, params, **extra):
        del params, extra
        down = -grads
        return optaxls.Directions(down, down), state

    pair = optaxls.DirectionPair(lambda w: (), update)
    w, state, _ = trajectory(optaxls.two_directions(pair, searched()), steps=3)
    chex.assert_trees_all_close(state.step_rule.trial_value, jax.vmap(loss)(w))


def test_a_part_of_ones_own_is_told_what_was_searched():
    """Commit speaks of the tested trial: the second direction is chosen afterwards."""
    rule = optaxls.scale_by_line_search(optaxls.armijo(0.1), watched_step())
    tx = optaxls.two_directions(told_pair(), rule)
    _, state, updates = trajectory(tx, steps=1)
    step_size, value, change, sqdistance = state.step_rule.initial_step[1][0]
    grad = W - GOAL
    assert step_size == state.step_rule.step_size[0]
    assert jnp.allclose(change, -step_size * jnp.vdot(grad, grad), rtol=1e-5)
    assert jnp.allclose(sqdistance, step_size**2 * jnp.vdot(grad, grad), rtol=1e-5)
    assert jnp.allclose(value, loss(W - step_size * grad), rtol=1e-4, atol=1e-2)
    assert jnp.allclose(updates[0], -0.5 * step_size * grad)


@pytest.mark.parametrize(
    "rule", [optax.identity(), optax.scale_by_adam(), optax.chain(optax.scale(-1.0))]
)
def test_a_rule_without_a_step_size_is_refused(rule):
    with pytest.raises(TypeError, match="step_rule must hold scale_by_line_search"):
        optaxls.two_directions(told_pair(), rule).init(W)


def resting(usable, goes_on):
    """Nothing to search along, and a second direction all the same."""

    def update(grads, state, params, **extra):
        return optaxls.Directions(
            0 * grads, -grads, usable=usable, goes_on=goes_on
        ), state

    return optaxls.DirectionPair(lambda params: (), update)


@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize(
    ("usable", "goes_on", "moved"),
    [(True, True, -1.0), (True, False, 0.0), (jnp.array(False), True, 0.0)],
)
def test_a_pair_may_go_on_where_nothing_is_searched(search, usable, goes_on, moved):
    rule = optaxls.scale_by_initial_step(optaxls.constant(0.5))
    if search:
        first = optaxls.grow(0.5, 1.0)
        rule = optaxls.scale_by_line_search(optaxls.armijo(0.5), first)
    tx = optaxls.two_directions(resting(usable, goes_on), rule)
    w = jnp.array([2.0])
    updates, state = tx.update(
        w, tx.init(w), w, value=jnp.array(2.0), grad=w, value_fn=jnp.sum
    )
    assert updates == moved
    report = optaxls.metrics(state)
    assert report["accepted"] == (moved != 0) and report["num_trials"] == 0
    assert report["step_size"] == -moved / 2
