"""A direction that climbs gives no step, or its other side is searched."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests.engine.test_paths import PATHS

CURVATURES = jnp.array([1.0, 9.0, 0.3])
START = {"a": jnp.array([1.0, -0.5]), "b": jnp.array(2.0, jnp.float32)}
SIGNS = jnp.array([1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0])


def loss(params, scale=1.0):
    w = jnp.concatenate([jnp.atleast_1d(leaf) for leaf in jax.tree.leaves(params)])
    return scale * (CURVATURES @ w**2 / 2 + jnp.sum(w**4)) + 0.1


CONDITIONS = {
    "armijo": lambda: optaxls.armijo(0.5),
    "goldstein": lambda: optaxls.goldstein(0.2),
    "zhang_hager": lambda: optaxls.zhang_hager(0.5, 0.9),
    "window_armijo": lambda: optaxls.window_armijo(0.1, 3),
    "smoothed_armijo": lambda: optaxls.smoothed_armijo(0.5),
    "bounded": lambda: optaxls.bounded(optaxls.armijo(0.1)),
    "wolfe": lambda: optaxls.wolfe(0.1, 0.5),
}
INITIAL_STEPS = {
    "constant": lambda: optaxls.constant(0.5),
    "grow": lambda: optaxls.grow(0.5, 1.5),
    "polyak": lambda: optaxls.polyak(0.3),
    "smoothed_polyak": lambda: optaxls.smoothed_polyak(0.3, 0.0, 1.0, 2.0, 3.0),
    "barzilai_borwein": lambda: optaxls.barzilai_borwein(),
    "hindsight": lambda: optaxls.hindsight(),
}
SEARCHES = {
    "backtracking": lambda: optaxls.backtracking(0.5, 2.0),
    "adaptive_backtracking": lambda: optaxls.adaptive_backtracking(0.9),
    "bracketing": lambda: optaxls.bracketing(2.0, 12),
    "parallel_candidates": lambda: optaxls.parallel_candidates(4, 0.5),
    "interpolating": lambda: optaxls.interpolating(),
}
GATES = {"every": lambda: optaxls.every(2), "when_unsteady": optaxls.when_unsteady}
ALL = [
    *((condition, "grow", "backtracking", None) for condition in CONDITIONS),
    *(("armijo", initial, "backtracking", None) for initial in INITIAL_STEPS),
    *(("armijo", "grow", search, None) for search in SEARCHES),
    *(("wolfe", "constant", search, None) for search in SEARCHES),
    *(("armijo", "grow", "backtracking", gate) for gate in GATES),
]
QUICK = {
    ("zhang_hager", "grow", "backtracking", None),
    ("armijo", "hindsight", "backtracking", None),
    ("armijo", "grow", "parallel_candidates", None),
    ("wolfe", "constant", "interpolating", None),
}
RUNS = [
    pytest.param(*row, marks=[] if row in QUICK else pytest.mark.slow)
    for row in dict.fromkeys(ALL)
]


def ran(rule, signs, scales=None, start=START):
    """Params and states of one compiled run along minus the gradient times a sign."""
    scales = jnp.ones_like(signs) if scales is None else scales

    def step(carry, at):
        params, state = carry
        sign, scale = at
        value, grad = jax.value_and_grad(loss)(params, scale)
        direction = jax.tree.map(lambda g: -sign * g, grad)
        updates, state = rule.update(
            direction, state, params, value=value, grad=grad,
            value_fn=lambda p: loss(p, scale),
        )  # fmt: skip
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    begun = (start, rule.init(start))
    return jax.jit(lambda: jax.lax.scan(step, begun, (signs, scales))[1])()


@pytest.mark.slow(one_in=4)
@pytest.mark.parametrize(("condition", "initial", "search", "gate"), RUNS)
def test_a_flipped_direction_is_searched_as_if_it_had_been_given(
    condition, initial, search, gate
):
    """Same params, trials and memories; only slope and step size change their sign."""
    rule = optaxls.scale_by_line_search(
        CONDITIONS[condition](),
        INITIAL_STEPS[initial](),
        SEARCHES[search](),
        gate=GATES[gate]() if gate else optaxls.always(),
        uphill="flip",
    )
    # A cubic through losses of 1e4 times the curvature differs by their rounding.
    steepest = 1.0 if search == "interpolating" else 1e4
    scales = jnp.array([1.0, 1.0, 0.1, 30.0, 1.0, 1.0, steepest, 1.0])
    params, state = ran(rule, SIGNS, scales)
    straight, expected = ran(rule, jnp.ones_like(SIGNS), scales)
    chex.assert_trees_all_close(params, straight, rtol=1e-5, atol=1e-6)
    same = expected._replace(
        step_size=SIGNS * expected.step_size, slope=SIGNS * expected.slope
    )
    chex.assert_trees_all_close(state, same, rtol=1e-4, atol=1e-6)
    assert jnp.all(expected.step_size >= 0)
    assert jnp.any(state.step_size < 0)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["box", "prox"])
def test_on_any_path(path):
    rule = optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.constant(0.2), path=PATHS[path], uphill="flip"
    )
    start = jnp.array([1.0, -0.4, 1.5])
    params, state = ran(rule, SIGNS, start=start)
    straight, expected = ran(rule, jnp.ones(8), start=start)
    chex.assert_trees_all_close(params, straight, rtol=1e-5)
    assert jnp.array_equal(state.step_size, SIGNS * expected.step_size)
    assert jnp.sum(state.step_size < 0) == 4


def test_the_second_direction_of_a_pair_is_reversed_with_the_first():
    def update(grads, state, params, **extra):
        del params, extra
        ascent = jax.tree.map(lambda g: 2 * g, grads)
        return optaxls.Directions(grads, ascent), state

    pair = optaxls.DirectionPair(lambda params: (), update)
    rule = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.constant(0.125), uphill="flip"
    )
    tx = optaxls.two_directions(pair, rule)
    w = jnp.array([1.0])
    updates, state = tx.update(
        w, tx.init(w), w, value=jnp.array(0.5), grad=w, value_fn=lambda w: w[0] ** 2 / 2
    )
    assert state.step_rule.step_size == -0.125
    np.testing.assert_allclose(updates, -0.25)


@pytest.mark.parametrize("uphill", ["stop", "flip"])
@pytest.mark.parametrize("direction", [0.0, np.nan])
def test_without_a_slope_there_is_no_step(uphill, direction):
    rule = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.constant(1.0), uphill=uphill
    )
    w = jnp.array([1.0])
    updates, state = rule.update(
        jnp.array([direction]), rule.init(w), w, value=jnp.array(0.5), grad=w,
        value_fn=lambda w: w[0] ** 2 / 2,
    )  # fmt: skip
    assert updates == 0 and state.num_trials == 0 and not state.accepted
    assert state.step_size == 0


def test_a_direction_that_climbs_stops_by_default():
    rule = optaxls.scale_by_line_search(optaxls.armijo(0.5), optaxls.constant(1.0))
    _, state = ran(rule, -jnp.ones(3))
    assert not jnp.any(state.accepted) and jnp.all(state.step_size == 0)
    with pytest.raises(ValueError, match="uphill must be one of 'stop', 'flip'"):
        optaxls.scale_by_line_search(
            optaxls.armijo(0.5), optaxls.constant(1.0), uphill="turn"
        )


def test_weight_decay_is_in_proportion_to_the_length_of_a_reversed_step():
    search = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.constant(0.5), uphill="flip"
    )
    w = jnp.array([2.0])
    for direction in (w, -w):
        tx = optaxls.decayed(search, 0.25)
        updates, _ = tx.update(
            direction, tx.init(w), w, value=jnp.array(2.0), grad=w,
            value_fn=lambda w: w[0] ** 2 / 2,
        )  # fmt: skip
        np.testing.assert_allclose(updates, -1.25)


def test_the_plain_function_reverses_as_the_transformation_does():
    grad = jax.grad(loss)(START)

    def search(direction, **given):
        return optaxls.line_search(
            loss,
            START,
            direction,
            value=loss(START),
            grad=grad,
            condition=optaxls.armijo(0.5),
            initial_step=optaxls.constant(0.5),
            **given,
        )

    flipped = search(grad, uphill="flip")
    plain = search(jax.tree.map(jnp.negative, grad))
    assert flipped.accepted and flipped.step_size == -plain.step_size < 0
    chex.assert_trees_all_equal(flipped.params, plain.params)
    assert not search(grad).accepted
    with pytest.raises(ValueError, match="uphill"):
        search(grad, uphill="sideways")
