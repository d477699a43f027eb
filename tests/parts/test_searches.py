"""Searches against closed forms: where each lands, and in how many trials."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import optaxls
from tests.parts import oracle

fractions = st.floats(0.05, 0.95)
scales = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)


def quadratic_search(search, curvature, first, condition, w=1.0, memories=None):
    """On f = L w^2 / 2 along the negative gradient, in float64."""
    with jax.enable_x64(True):
        w = jnp.array([w])
        result = optaxls.line_search(
            lambda w: 0.5 * curvature * jnp.sum(w**2),
            w,
            -curvature * w,
            value=0.5 * curvature * jnp.sum(w**2),
            grad=curvature * w,
            condition=condition,
            initial_step=optaxls.constant(first),
            search=search,
            memories=memories,
        )
    return result._replace(step_size=float(result.step_size))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(scales, fractions, st.floats(0.3, 0.95), st.floats(1.01, 60.0))
def test_adaptive_backtracking_lands_at_once_on_a_quadratic(L, c, rho, excess):
    longest = 2 * (1 - c) / L
    assume(rho / excess > 0.011)
    search = optaxls.adaptive_backtracking(rho)
    result = quadratic_search(search, L, excess * longest, optaxls.armijo(c))
    assert result.step_size == pytest.approx(rho * longest, rel=1e-6)
    assert result.num_trials == 2 and result.accepted


@pytest.mark.parametrize("needs_slope", [False, True])
def test_adaptive_backtracking_is_the_same_under_wolfe(needs_slope):
    """A condition whose trials have slopes: Armijo's part is what shrinks a step."""
    c, excess = 0.25, 7.0
    condition = optaxls.wolfe(c, 0.99) if needs_slope else optaxls.armijo(c)
    search = optaxls.adaptive_backtracking(0.9)
    result = quadratic_search(search, 3.0, excess * 0.5, condition)
    assert result.step_size == pytest.approx(0.9 * 2 * (1 - c) / 3.0, rel=1e-6)
    assert result.num_trials == 2 and result.accepted


def next_step(search, value_fn, c, first, slope, value):
    """Where a search stands after one rejected trial: the next proposal of `grow`."""
    with jax.enable_x64(True):
        result = optaxls.line_search(
            value_fn,
            jnp.array([0.0]),
            jnp.array([1.0]),
            value=jnp.array(value),
            grad=jnp.array([slope]),
            condition=optaxls.armijo(c),
            initial_step=optaxls.grow(first, growth=1.0),
            search=search(max_trials=1),
        )
    assert not result.accepted
    return float(result.memories.initial_step.start)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(fractions, st.floats(0.3, 0.95), st.floats(1.0, 8.0), st.floats(0.5, 3.0))
def test_adaptive_backtracking_is_the_papers_factor(c, rho, first, rate):
    """rho (1 - c) / (1 - c v), v the violation; here on exp(rate w) - 5 rate w."""

    def loss(w):
        exp = jnp.exp if isinstance(w, jax.Array) else math.exp
        return exp(rate * w) - 5 * rate * w

    slope = rate - 5 * rate
    change = loss(first) - 1.0
    assume(change > c * first * slope * 0.999)
    search = functools.partial(optaxls.adaptive_backtracking, rho)
    step = next_step(search, lambda w: loss(w[0]), c, first, slope, 1.0)
    violation = change / (c * first * slope)
    factor = max(0.01, rho * (1 - c) / (1 - c * violation))
    assert step == pytest.approx(first * factor, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_adaptive_backtracking_shrinks_ordinarily_from_a_non_finite_trial(bad):
    result = quadratic_search(
        optaxls.adaptive_backtracking(0.8), 1.0, 1.0, optaxls.armijo(0.1)
    )
    assert result.num_trials == 1
    with jax.enable_x64(True):
        result = optaxls.line_search(
            lambda w: jnp.where(w[0] < 0.3, bad, 0.5 * w[0] ** 2),
            jnp.array([1.0]),
            jnp.array([-1.0]),
            value=jnp.array(0.5),
            grad=jnp.array([1.0]),
            condition=optaxls.armijo(0.1),
            initial_step=optaxls.constant(1.0),
            search=optaxls.adaptive_backtracking(0.8),
        )
    assert float(result.step_size) == pytest.approx(0.8**2) and result.num_trials == 3


def test_adaptive_backtracking_never_shrinks_below_its_smallest_factor():
    search = functools.partial(optaxls.adaptive_backtracking, 0.9, min_factor=0.2)
    step = next_step(search, lambda w: 1e6 * w[0] ** 2, 0.1, 1.0, -1.0, 0.0)
    assert step == pytest.approx(0.2)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(scales, fractions, st.floats(0.3, 0.95), scales)
def test_adaptive_backtracking_makes_no_more_trials_on_quadratics(L, c, rho, first):
    plain = quadratic_search(optaxls.backtracking(rho), L, first, optaxls.armijo(c))
    adaptive = quadratic_search(
        optaxls.adaptive_backtracking(rho), L, first, optaxls.armijo(c)
    )
    assert adaptive.num_trials <= plain.num_trials
    assert adaptive.accepted >= plain.accepted


def test_adaptive_backtracking_uses_a_nonmonotone_reference():
    """Mean of 8 and 0.5 as reference: the largest acceptable step is a root of
    (1 - eta)^2 / 2 = 4.25 - c eta."""
    condition, c, rho = optaxls.zhang_hager(0.5), 0.5, 0.9
    search = optaxls.adaptive_backtracking(rho)
    first = quadratic_search(search, 1.0, 1.0, condition, w=4.0)
    second = quadratic_search(search, 1.0, 50.0, condition, memories=first.memories)
    # eta^2 / 2 - (1 - c) eta + (0.5 - 4.25) = 0.
    longest = (1 - c) + math.sqrt((1 - c) ** 2 + 2 * (4.25 - 0.5))
    assert second.step_size == pytest.approx(rho * longest, rel=1e-6)
    assert second.num_trials == 2


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(scales, fractions, st.floats(1.3, 4.0), scales)
def test_bracketing_finds_the_largest_step_of_its_grid(L, c, factor, first):
    longest = 2 * (1 - c) / L
    power = math.floor(math.log(longest / first) / math.log(factor))
    expected = first * factor**power
    assume(expected * factor > longest * 1.000001 and expected < longest * 0.999999)
    search = optaxls.bracketing(factor)
    result = quadratic_search(search, L, first, optaxls.armijo(c))
    assert result.step_size == pytest.approx(expected, rel=1e-9)
    assert result.num_trials == (power + 2 if power >= 0 else 1 - power)
    loss, slope = (lambda step: 0.5 * L * (1 - step * L) ** 2), -(L**2)
    step, trials, accepted = oracle.bracket(
        loss, oracle.armijo(c), 0.5 * L, slope, first, factor
    )
    assert (trials, accepted) == (result.num_trials, result.accepted)


def test_bracketing_keeps_what_held_when_its_budget_ends():
    search = optaxls.bracketing(2.0, max_trials=3)
    result = quadratic_search(search, 1.0, 2.0**-8, optaxls.armijo(0.1))
    assert result.accepted and result.step_size == 2.0**-6 and result.num_trials == 3


def test_bracketing_stops_before_infinity():
    """A bounded loss is finite, and the condition content, at infinity too."""
    result = optaxls.line_search(
        lambda w: jnp.tanh(w[0]),
        jnp.array([0.0]),
        jnp.array([-1.0]),
        value=jnp.array(0.0),
        grad=jnp.array([1.0]),
        condition=optaxls.always_accept(),
        initial_step=optaxls.constant(1.0),
        search=optaxls.bracketing(1e5),
    )
    assert result.accepted and 1e30 < result.step_size < math.inf
    assert jnp.isfinite(result.params[0])


def test_growth_stops_at_the_largest_step_size():
    """The authors' Goldstein search tries the cap again until its budget is spent."""
    search = optaxls.backtracking(0.9, increase_factor=2.0, max_step_size=3.0)
    result = quadratic_search(search, 0.01, 1.0, optaxls.goldstein(0.4))
    assert result.accepted and result.step_size == 3.0 and result.num_trials == 3


def test_a_budget_spent_between_too_long_and_too_short_takes_what_held():
    """One interval too narrow for the grid: 0.5 is too short, 1 is too long."""
    condition = optaxls.stateless_condition(
        lambda origin, trial: optaxls.Verdict(
            trial.step_size - 0.8, 0.7 - trial.step_size
        )
    )
    search = optaxls.backtracking(0.5, increase_factor=2.0, max_trials=9)
    result = quadratic_search(search, 1.0, 1.0, condition)
    assert result.accepted and result.step_size == 0.5 and result.num_trials == 9
