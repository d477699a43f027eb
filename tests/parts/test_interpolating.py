"""The interpolating search and the Wolfe condition: closed forms and an oracle."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import optaxls
from tests.parts import oracle

ONE = jnp.array([1.0])


def half_square(w):
    return 0.5 * jnp.sum(w**2)


def search(condition, first, fn=half_square, **given):
    """Along minus the gradient, from 1."""
    value, grad = jax.value_and_grad(fn)(ONE)
    return optaxls.line_search(
        fn,
        ONE,
        -grad,
        value=value,
        grad=grad,
        condition=condition,
        initial_step=optaxls.constant(first),
        search=optaxls.interpolating(**given),
    )


@pytest.mark.parametrize("c2", [0.1, 0.5, 0.9])
def test_on_a_parabola_wolfe_accepts_what_its_slope_says(c2):
    """The slope after a step of eta is (1 - eta) times that before it."""
    for distance, trials in ((0.99 * c2, 1), (1.01 * c2, 2)):
        for first in (1 - distance, 1 + distance):
            result = search(optaxls.wolfe(c2=c2), first)
            assert result.num_trials == trials and result.accepted
    # The second trial is the minimum, but for the distance kept from the first.
    assert result.step_size == pytest.approx(1.0, abs=0.01)
    assert result.grad[0] == pytest.approx(1 - float(result.step_size), abs=1e-6)


@pytest.mark.parametrize("condition", [optaxls.armijo(0.5), optaxls.wolfe(c1=0.5)])
def test_a_step_too_long_on_a_parabola_is_followed_by_its_minimum(condition):
    result = search(condition, 8.0)
    assert (result.step_size, result.num_trials) == (1.0, 2)


def test_without_slopes_there_is_no_gradient_and_goldstein_ends_by_halves():
    assert search(optaxls.armijo(0.1), 1.0).grad == ()
    result = search(optaxls.goldstein(0.4), 0.25)
    assert result.accepted and 0.8 <= result.step_size <= 1.2


def test_a_quarter_is_left_after_a_loss_that_is_not_finite():
    def fn(w):  # not finite below 0, where steps longer than 1 end
        return half_square(w) + 0 * jnp.sum(jnp.log(w))

    result = search(optaxls.wolfe(), 12.0, fn)
    assert (result.step_size, result.num_trials) == (0.75, 3)


def test_a_spent_budget_takes_the_lowest_trial_that_was_not_too_long():
    # Two trials that are too short, and the second is lower.
    result = search(optaxls.wolfe(c2=0.1), 1e-6, max_trials=2, max_growth=2.0)
    assert result.step_size == pytest.approx(2e-6) and result.num_trials == 2
    assert result.grad[0] == pytest.approx(1 - 2e-6)


def test_a_failed_search_leaves_the_gradient_at_the_start():
    result = search(optaxls.wolfe(), 1.0, lambda w: half_square(w - 3.0), max_trials=3)
    assert result.accepted
    value, grad = jnp.array(0.5), jnp.array([1.0])
    failed = optaxls.line_search(
        lambda w: half_square(w) + 10,
        ONE,
        -grad,
        value=value,
        grad=grad,
        condition=optaxls.wolfe(),
        initial_step=optaxls.constant(1.0),
        search=optaxls.interpolating(5),
        fallback_step=0.0,
    )
    assert failed.num_trials == 5 and not failed.accepted
    assert failed.params == ONE and failed.grad == grad and failed.value == value


OTHERS = {
    "backtracking": optaxls.backtracking(0.5, increase_factor=2.0),
    "parallel": optaxls.parallel_candidates(4, 0.5),
    "bracketing": optaxls.bracketing(2.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_searches_hand_on_the_gradient_of_their_trial(name):
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}

    def fn(p):
        return half_square(p["a"]) + half_square(p["b"])

    value, grad = jax.value_and_grad(fn)(params)
    result = optaxls.line_search(
        fn,
        params,
        jax.tree.map(jnp.negative, grad),
        value=value,
        grad=grad,
        condition=optaxls.wolfe(),
        initial_step=optaxls.constant(3.0),
        search=OTHERS[name],
    )
    assert result.accepted
    for key, leaf in jax.grad(fn)(result.params).items():
        np.testing.assert_allclose(result.grad[key], leaf, rtol=1e-5, atol=1e-6)


def test_the_slope_is_that_along_a_bent_path():
    """w+ = w exp(-eta): the loss w^2 / 2 has the slope -w^2 exp(-2 eta)."""

    def displace(origin, step_size):
        updates = origin.params * jnp.expm1(-step_size)
        return optaxls.Displacement(updates, -step_size, step_size**2)

    seen = []

    def judge(memory, origin, trial):
        seen.append(trial.slope)
        return optaxls.Verdict(jnp.array(-1.0))

    optaxls.line_search(
        half_square,
        ONE,
        -ONE,
        value=jnp.array(0.5),
        grad=ONE,
        condition=optaxls.wolfe()._replace(judge=judge),
        initial_step=optaxls.constant(0.5),
        path=optaxls.Path(displace, lambda origin, step_size: origin.slope),
    )
    assert seen[0] == pytest.approx(-math.exp(-1))


def test_wolfe_without_slopes_says_so():
    condition = optaxls.wolfe()._replace(needs_slope=False)
    with pytest.raises(TypeError, match="needs_slope"):
        search(condition, 1.0)


def curve(coefficients, step):
    """Falls from 0; with a bend, a wave, and a strip where it is not finite."""
    bend, wave, rate, strip = coefficients
    value = -step + 0.5 * bend * step**2 + wave * jnp.sin(rate * step)
    return jnp.where((step > strip) & (step < 1.5 * strip), jnp.inf, value)


@functools.cache
def compiled():
    @jax.jit
    def solve(coefficients, first, c1, c2):
        def fn(w):
            return curve(coefficients, w[0])

        start = jnp.zeros(1)
        value, grad = jax.value_and_grad(fn)(start)
        result = optaxls.line_search(
            fn,
            start,
            jnp.ones(1),
            value=value,
            grad=grad,
            condition=optaxls.wolfe(c1, c2),
            initial_step=optaxls.constant(first),
            search=optaxls.interpolating(),
            fallback_step=0.0,
        )
        return result.step_size, result.num_trials, grad[0]

    return solve


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.floats(0.01, 10),
    st.floats(0, 0.2),
    st.floats(0, 4),
    st.floats(0.5, 5),
    st.floats(-3, 3),
    st.floats(0.05, 0.9),
)
def test_it_equals_a_plain_loop(bend, wave, rate, strip, first, c2):
    first, coefficients = 10.0**first, (bend, wave, rate, strip)
    with jax.enable_x64(True):
        found = compiled()(jnp.array(coefficients), first, 1e-4, c2)
        step, trials, slope = (number.item() for number in found)
    assume(slope < 0)

    def loss(at):
        if strip < at < 1.5 * strip:
            return math.inf, math.nan
        value = -at + 0.5 * bend * at**2 + wave * math.sin(rate * at)
        return value, -1 + bend * at + wave * rate * math.cos(rate * at)

    wanted, count, told = oracle.interpolate(loss, oracle.strong_wolfe(1e-4, c2), first)
    assume(told == "fits" and abs(wanted) > 1e-9)
    assert trials == count
    assert step == pytest.approx(wanted, rel=1e-6)
