"""Paths with a proximal operator, under every search and every condition."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from tests.engine.test_failure_and_recovery import CONDITIONS, SEARCHES
from tests.engine.test_paths import watched

NAN = math.nan
LOW, HIGH = -0.5, 0.3
PROXES = {
    "l1": optaxls.prox.l1(0.3),
    "l2": optaxls.prox.l2(0.7),
    "group_l2": optaxls.prox.group_l2(0.4, axis=0),
    "box": optaxls.prox.box(LOW, HIGH),
    "nonnegative": optaxls.prox.nonnegative(),
    "simplex": optaxls.prox.simplex(),
    "l1_ball": optaxls.prox.l1_ball(0.75),
    "rows": optaxls.prox.row_normalised(),
    "none": optaxls.prox.l1(0.0),
}
SETS = {name for name, prox in PROXES.items() if prox.is_set}
ALL_CONDITIONS = CONDITIONS | {"wolfe": optaxls.wolfe(1e-4, 0.9)}
ALL_SEARCHES = SEARCHES | {"interpolating": optaxls.interpolating()}
SCALES = jnp.array([1.0, 5.0, 0.2])


def inside(name, w):
    """Whether params lie in the set, exactly for bounds, else up to rounding."""
    if name == "box":
        return bool(jnp.all((w >= jnp.float32(LOW)) & (w <= jnp.float32(HIGH))))
    if name in ("nonnegative", "simplex") and bool(jnp.any(w < 0)):
        return False
    if name in SETS:
        return bool(jnp.allclose(PROXES[name].prox(w, 1.0), w, rtol=1e-5, atol=1e-6))
    return True


@functools.cache
def program(name: str, search: str | None):
    """One compiled step from any origin: the searched or the untested rule."""
    path = optaxls.along_prox(PROXES[name])

    def step(condition, w, goal, direction, first, fault):
        def loss(at):
            return 0.5 * jnp.sum(SCALES * (at - goal) ** 2) * fault

        if search is None:
            tx = optaxls.scale_by_initial_step(watched(), path=path)
        else:
            tx = optaxls.scale_by_line_search(
                ALL_CONDITIONS[condition], watched(), ALL_SEARCHES[search], path=path
            )
        before = tx.init(w)
        before = before._replace(initial_step=(first, before.initial_step[1]))
        grad = SCALES * (w - goal)
        direction = jnp.where(jnp.isnan(direction[0]), -grad, direction)
        updates, after = tx.update(
            direction, before, w, value=loss(w), grad=grad, value_fn=loss
        )
        new = optax.apply_updates(w, updates)
        total = loss(new) + PROXES[name].penalty(new)
        return updates, before, after, new, total

    return jax.jit(step, static_argnums=0)


ALONG_GRADIENT = [NAN, 0.0, 0.0]


def run(name, search, condition, w, goal, *, direction=None, first=1.0, fault=1.0):
    given_direction = ALONG_GRADIENT if direction is None else direction
    arrays = (jnp.array(x, jnp.float32) for x in (w, goal, given_direction))
    return program(name, search)(
        condition, *arrays, jnp.float32(first), jnp.float32(fault)
    )


# Every pair of operator, search and condition at least once; each has its own program.
RUNS = [
    pytest.param(name, search, condition, marks=[] if quick else pytest.mark.slow)
    for i, name in enumerate(PROXES)
    for j, search in enumerate((None, *ALL_SEARCHES))
    for k, condition in enumerate(ALL_CONDITIONS if search else ("armijo",))
    for quick in [
        condition == "armijo"
        and (search == "backtracking" or (name in ("l1", "box") and search is None))
    ]
    if quick or search is None or (i + j + k) % len(ALL_SEARCHES) == 0
]


def check_step(name, search, condition, w, goal, first=1.0, direction=None):
    """Feasible, one truth, never uphill beyond rounding where the test is monotone."""
    w = PROXES[name].prox(jnp.array(w, jnp.float32), 1.0) if name in SETS else w
    updates, _, after, new, total = run(
        name, search, condition, w, goal, first=first, direction=direction
    )
    assert inside(name, new)
    step_size, value, change, sqdistance = after.initial_step[1]
    assert step_size == after.step_size
    start = float(after.value)
    size = 1 + abs(start) + float(jnp.sum(jnp.abs(new)) ** 2)
    if not jnp.any(updates):
        return new
    # What rounding hides may be positive.
    assert step_size > 0 and change < 1e-5 * size
    assert float(sqdistance) == pytest.approx(float(jnp.sum(updates**2)), rel=1e-4)
    if search is not None:
        assert float(value) == pytest.approx(float(total), rel=1e-4, abs=1e-5 * size)
    if search is not None and condition in ("armijo", "goldstein", "wolfe"):
        assert float(total) <= start + 1e-5 * size
    return new


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize(("name", "search", "condition"), RUNS)
def test_a_step_is_feasible_tells_the_truth_and_descends(name, search, condition):
    for first in (0.1, 1.0, 30.0):
        check_step(name, search, condition, [0.2, -0.4, 0.3], [1.0, -2.0, 0.1], first)


@pytest.mark.slow(one_in=4)
@pytest.mark.parametrize(("name", "search", "condition"), RUNS)
def test_steps_of_zero_and_bad_numbers_are_zeros(name, search, condition):
    """Also from outside of the set, onto which a projection would move by itself."""
    for bad in (
        {"first": 0.0},
        {"fault": NAN},
        {"fault": math.inf},
        {"direction": [-1.0, NAN, 0.0]},
        {"direction": [math.inf, 0.0, 0.0]},
    ):
        w = [0.2, 0.1, 0.7] if "first" in bad else [3.0, -1.0, 2.0]
        if name in SETS and "first" in bad:
            w = PROXES[name].prox(jnp.array(w), 1.0)
        updates, before, after, *_ = run(
            name, search, condition, w, [1.0, -2.0, 0.5], **bad
        )
        assert updates.tolist() == [0.0, 0.0, 0.0], bad
        assert not after.accepted and after.step_size == 0, bad
        if "first" not in bad:
            for kept in ("condition", "initial_step", "gate"):
                chex.assert_trees_all_equal(getattr(after, kept), getattr(before, kept))


numbers = st.floats(-3, 3, width=32)
points = st.tuples(numbers, numbers, numbers)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(["l1", "box", "l1_ball"]),
    st.sampled_from(["backtracking"]),
    points,
    points,
    st.one_of(st.none(), points),
    st.floats(0.0625, 50.0, width=32),
)
def test_any_origin_any_direction(name, search, w, goal, direction, first):
    check_step(name, search, "armijo", w, goal, first, direction)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "box" else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(SETS - {"rows"})
    ],
)
def test_from_outside_the_first_step_is_the_projection(name):
    w = jnp.array([3.0, -1.0, 2.0])
    updates, _, after, new, _ = run(name, "backtracking", "armijo", w, [1.0, 0.0, 0.0])
    assert jnp.any(updates) and inside(name, new)
    assert jnp.allclose(new, PROXES[name].prox(w, 1.0), atol=1e-6)
    assert after.step_size == 0 == after.num_trials and not after.accepted
    assert jnp.isnan(after.trial_value)


def test_without_a_penalty_the_path_is_the_line():
    for search in (None, "backtracking"):
        bent = run("none", search, "armijo", [0.2, -0.4, 0.3], [1.0, -2.0, 0.1])
        line = optaxls.line_search(
            lambda w: 0.5 * jnp.sum(SCALES * (w - jnp.array([1.0, -2.0, 0.1])) ** 2),
            jnp.array([0.2, -0.4, 0.3]),
            -SCALES * (jnp.array([0.2, -0.4, 0.3]) - jnp.array([1.0, -2.0, 0.1])),
            value=bent[2].value,
            grad=SCALES * (jnp.array([0.2, -0.4, 0.3]) - jnp.array([1.0, -2.0, 0.1])),
            condition=optaxls.armijo(0.5),
            initial_step=optaxls.constant(1.0),
            search=optaxls.backtracking(0.5) if search else optaxls.backtracking(0.5),
        )
        if search:
            assert jnp.array_equal(bent[3], line.params)


@pytest.mark.slow
def test_a_penalty_moves_params_whose_gradient_is_zero():
    for search in (None, "backtracking", "bracketing"):
        w = [3.0, 0.1, 0.0]
        _, _, after, new, _ = run("l1", search, "armijo", w, w)
        assert after.accepted and new[0] < 3 and new[1] == 0 == new[2]


def test_at_the_minimum_of_loss_and_penalty_nothing_moves():
    """Of (w - 1)^2 / 2 + 0.3 |w| it is at 0.7, and 0 where the gradient is short."""
    w = [0.7, 0.0, 0.0]
    updates, _, after, *_ = run("l1", "backtracking", "armijo", w, [1.0, 0.05, -0.4])
    assert jnp.max(jnp.abs(updates)) < 1e-7 and after.num_trials <= 1
