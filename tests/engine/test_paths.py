"""Any path under any search: steps of 0, bad numbers, one truth about the step."""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from tests.engine.test_failure_and_recovery import CONDITIONS, SEARCHES

NAN = math.nan
BOX = (-0.5, 2.0)
PENALTY = 0.3


def own_path(place, penalty=lambda w: 0.0):
    """``w+ = place(w, eta, d)``; the promise is the chord, the penalty's included."""

    def displace(origin, step_size):
        new = place(origin.params, step_size, origin.direction)
        updates = new - origin.params
        change = penalty(new) - penalty(origin.params)
        change = jnp.vdot(origin.grad, updates) + change
        return optaxls.Displacement(updates, change, jnp.vdot(updates, updates))

    def predicted_slope(origin, step_size):
        return displace(origin, step_size).linear_change / step_size

    return optaxls.Path(displace, predicted_slope)


def _soft(w, step_size, d):
    far = w + step_size * d
    return jnp.sign(far) * jnp.maximum(jnp.abs(far) - PENALTY * step_size, 0)


def sum_abs(w):
    return PENALTY * jnp.sum(jnp.abs(w))


PATHS = {
    "along_direction": optaxls.along_direction,
    "box": own_path(lambda w, step_size, d: jnp.clip(w + step_size * d, *BOX)),
    "prox": own_path(_soft, sum_abs),
    # Not a number where the direction is none, whatever the step size.
    "keeps_nan": own_path(
        lambda w, step_size, d: jnp.where(d != 0, w + step_size * d, w)
    ),
    # Infeasible params are moved by a step of 0 as well.
    "to_the_box": own_path(
        lambda w, step_size, d: jnp.clip(w, *BOX) + 0 * step_size * d
    ),
}


def watched():
    """An initial step that proposes what its memory says and keeps what it is told."""

    def commit(memory, origin, outcome):
        del origin
        return memory[0], jnp.stack([*outcome.applied[:4]])

    return optaxls.InitialStep(
        init=lambda params: (jnp.ones(()), jnp.zeros(4)),
        propose=lambda memory, origin: memory[0],
        commit=commit,
    )


@functools.cache
def program(path: str, search: str | None):
    """One compiled step for every condition's number: the searched or the bare rule."""

    def step(condition, w, goal, direction, first, fault):
        def loss(at):
            smooth = 0.5 * jnp.sum((at - goal) ** 2)
            return (smooth + (sum_abs(at) if path == "prox" else 0.0)) * fault

        tx: Any
        if search is None:
            tx = optaxls.scale_by_initial_step(watched(), path=PATHS[path])
        else:
            tx = optaxls.scale_by_line_search(
                CONDITIONS[condition], watched(), SEARCHES[search], path=PATHS[path]
            )
        before = tx.init(w)
        before = before._replace(initial_step=(first, before.initial_step[1]))
        updates, after = tx.update(
            direction,
            before,
            w,
            value=loss(w),
            grad=w - goal,
            value_fn=loss,
        )
        return updates, before, after, loss(w + updates)

    return jax.jit(step, static_argnums=0)


def run(path, search, condition, *, w, goal, first=1.0, direction=None, fault=1.0):
    w, goal = jnp.asarray(w, jnp.float32), jnp.asarray(goal, jnp.float32)
    direction = goal - w if direction is None else jnp.asarray(direction, jnp.float32)
    call = program(path, search)
    return call(condition, w, goal, direction, jnp.float32(first), jnp.float32(fault))


# Every pair of path, search and condition at least once; each has its own program.
RUNS = [
    pytest.param(path, search, condition, marks=[] if quick else pytest.mark.slow)
    for i, path in enumerate(PATHS)
    for j, search in enumerate((None, *SEARCHES))
    for k, condition in enumerate(CONDITIONS if search else ("armijo",))
    for quick in [condition == "armijo" and search != "parallel_candidates"]
    if quick or (i + j + k) % len(SEARCHES) == 0
]


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize(("path", "search", "condition"), RUNS)
def test_steps_of_zero_and_bad_numbers_are_zeros(path, search, condition):
    """Also from outside of the box, where a projection moves by itself."""
    start = {"w": [3.0, -1.0], "goal": [1.0, -2.0]}
    for bad in (
        {"first": 0.0},
        {"fault": NAN},
        {"fault": math.inf},
        {"direction": [NAN, NAN]},
        {"direction": [-1.0, NAN]},
        {"direction": [math.inf, 0.0]},
    ):
        updates, before, after, _ = run(path, search, condition, **start, **bad)
        assert updates.tolist() == [0.0, 0.0], bad
        assert not after.accepted and after.step_size == 0, bad
        if "first" not in bad:
            for kept in ("condition", "initial_step", "gate"):
                chex.assert_trees_all_equal(getattr(after, kept), getattr(before, kept))


def own_scalars(path, w, goal, direction, step_size):
    origin = optaxls.Origin(
        params=w,
        grad=w - goal,
        direction=direction,
        value=jnp.zeros(()),
        slope=jnp.vdot(w - goal, direction),
        grad_sqnorm=jnp.vdot(w - goal, w - goal),
        direction_sqnorm=jnp.vdot(direction, direction),
    )
    return PATHS[path].displace(origin, step_size)


def check_one_point(path, search, condition, w, goal, direction, first):
    """Step, updates, loss and scalars are of one and the same point."""
    w, goal, direction = (jnp.array(x, jnp.float32) for x in (w, goal, direction))
    updates, _, after, loss = run(
        path, search, condition, w=w, goal=goal, direction=direction, first=first
    )
    step_size, value, change, sqdistance = after.initial_step[1]
    assert step_size == after.step_size
    if step_size == 0:
        assert not jnp.any(updates) and change == 0 == sqdistance
        assert after.trial_value == after.value
        return
    moved, own_change, own_sqdistance = own_scalars(path, w, goal, direction, step_size)
    size = float(jnp.max(jnp.abs(w)) + step_size * jnp.max(jnp.abs(direction)))
    close = functools.partial(pytest.approx, rel=1e-4, abs=1e-5 * (1 + size**2))
    assert jnp.allclose(updates, moved, rtol=1e-5, atol=1e-6 * (1 + size))
    assert float(change) == close(float(own_change))
    assert float(sqdistance) == close(float(own_sqdistance))
    assert jnp.isnan(value) or float(value) == close(float(loss))
    assert jnp.isnan(value) == (search is None)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "search", "condition"), RUNS)
def test_the_outcome_is_the_step_that_was_taken(path, search, condition):
    for first in (0.3, 1.0, 5.0):
        given = ([1.5, 0.2], [-1.0, 0.1], [-2.5, -0.1], first)
        check_one_point(path, search, condition, *given)


numbers = st.floats(-3, 3, width=32)
points = st.tuples(numbers, numbers)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(list(PATHS)),
    st.sampled_from([None, "backtracking", "bracketing"]),
    points,
    points,
    points,
    st.floats(0.0625, 20.0, width=32),
)
def test_any_origin_tells_one_truth(path, search, w, goal, direction, first):
    check_one_point(path, search, "armijo", w, goal, direction, first)


@pytest.mark.parametrize("search", [None, "backtracking", "bracketing"])
def test_a_penalty_moves_params_whose_gradient_is_zero(search):
    """The slope is 0 there, and the promise of the proximal step is not."""
    updates, _, after, _ = run("prox", search, "armijo", w=[3.0, 0.1], goal=[3.0, 0.1])
    assert after.slope == 0 and after.accepted
    assert (updates[0] < 0) & (updates[1] < 0)
    assert jnp.abs(jnp.array([3.0, 0.1]) + updates)[1] < 1e-6


@pytest.mark.parametrize("search", ["backtracking", "bracketing"])
def test_a_path_is_asked_for_positive_steps_only(search):
    """Seen from outside of jit, where every number is known."""
    asked = []

    def displace(origin, step_size):
        asked.append(float(step_size))
        return optaxls.along_direction.displace(origin, step_size)

    def predicted_slope(origin, step_size):
        asked.append(float(step_size))
        return origin.slope

    path = optaxls.Path(displace, predicted_slope)
    w = jnp.array([1.0])
    for first, factor in ((0.0, 1.0), (1.0, 1.0), (1.0, NAN), (1.0, -1.0)):
        optaxls.line_search(
            lambda w: 0.5 * jnp.sum(w**2),
            w,
            -factor * w,
            value=jnp.array(0.5),
            grad=w,
            condition=optaxls.armijo(0.5),
            initial_step=optaxls.constant(1.0)._replace(
                propose=lambda memory, origin, first=first: jnp.array(first)
            ),
            search=SEARCHES[search],
            path=path,
        )
    assert asked and min(asked) > 0
