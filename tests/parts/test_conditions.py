"""Conditions: closed forms on a quadratic, and their memories against plain Python."""

import jax.numpy as jnp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import optaxls
from tests.parts import oracle
from tests.parts.samples import origin, outcome, trial

numbers = st.floats(0.125, 8.0, width=32)


def on_quadratic(condition, curvature, step_size, memory=()):
    """The verdict on f = L w^2 / 2 from w = 1 along the negative gradient."""
    slope = -(curvature**2)
    value = 0.5 * curvature * (1 - step_size * curvature) ** 2
    at = origin(0.5 * curvature, slope)
    return condition.judge(memory, at, trial(step_size, value, slope))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(numbers, st.floats(0.05, 0.95))
def test_armijo_accepts_up_to_two_times_one_minus_c_over_curvature(curvature, c):
    longest = 2 * (1 - c) / curvature
    condition = optaxls.armijo(c)
    assert on_quadratic(condition, curvature, 0.999 * longest).too_long <= 0
    assert on_quadratic(condition, curvature, 1.001 * longest).too_long > 0
    assert on_quadratic(condition, curvature, 0.001 * longest).too_short <= 0


@pytest.mark.parametrize(
    ("value", "slope", "most"),
    [
        (5.0, -1.0, 10.0),  # twice the loss
        (-5.0, -1.0, 10.0),  # or its distance from 0
        (0.1, -1.0, 2.0),
        (0.1, -8.0, 8.0),  # a step size of 1
    ],
)
def test_bounded_limits_what_a_trial_promises(value, slope, most):
    condition = optaxls.bounded(optaxls.always_accept())
    at = origin(value, slope)
    for share, is_allowed in ((1.0, True), (1.01, False)):
        one = trial(share * most / -slope, value, slope)
        assert (condition.judge((), at, one).too_long <= 0) == is_allowed


def test_bounded_holds_the_condition_inside_as_well():
    inside = optaxls.goldstein(0.1)
    for step_size in (0.01, 0.5, 1.99):
        own = on_quadratic(inside, 1.0, step_size)
        verdict = on_quadratic(optaxls.bounded(inside), 1.0, step_size)
        assert (verdict.too_long <= 0) == (own.too_long <= 0)
        assert verdict.too_short == own.too_short


def test_bounded_keeps_the_memory_of_the_condition_inside():
    condition = optaxls.bounded(optaxls.zhang_hager(0.1, 1.0))
    plain = optaxls.zhang_hager(0.1, 1.0)
    memory = condition.observe(condition.init(jnp.ones(2)), origin(3.0))
    expected = plain.observe(plain.init(jnp.ones(2)), origin(3.0))
    assert memory == expected


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(numbers, st.floats(0.05, 0.45))
def test_goldstein_accepts_an_interval(curvature, c):
    condition = optaxls.goldstein(c)
    shortest, longest = 2 * c / curvature, 2 * (1 - c) / curvature
    assert on_quadratic(condition, curvature, 0.999 * longest).too_long <= 0
    assert on_quadratic(condition, curvature, 1.001 * longest).too_long > 0
    assert on_quadratic(condition, curvature, 1.001 * shortest).too_short <= 0
    assert on_quadratic(condition, curvature, 0.999 * shortest).too_short > 0


def test_always_accept_accepts_any_rise():
    condition = optaxls.always_accept()
    assert condition.judge((), origin(), trial(1.0, 1e30)).too_long <= 0


def test_a_stateless_condition_may_return_a_number_or_a_verdict():
    def number(origin, trial):
        return trial.value - 3.0

    def verdict(origin, trial):
        return optaxls.Verdict(trial.value - 3.0, 0.5 - trial.value)

    for fn, short in ((number, -jnp.inf), (verdict, 0.25)):
        answer = optaxls.stateless_condition(fn).judge((), origin(), trial(1.0, 0.25))
        assert answer.too_long == -2.75 and answer.too_short == short


values = st.lists(
    st.floats(-5, 50, width=32, allow_subnormal=False), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(values, st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_zhang_hager_is_the_recursion(losses, decay):
    condition = optaxls.zhang_hager(0.25, decay)
    memory, deviation = condition.init(jnp.ones(1)), oracle.Deviation()
    mean = weight = 0.0
    for value in losses:
        memory = condition.observe(memory, origin(value))
        mean, weight = oracle.zhang_hager(mean, weight, value, decay, deviation)
        memory = condition.commit(memory, origin(value), outcome(0.5))
        deviation.step(0.5)
    assert float(memory.mean_value) == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert float(memory.total_weight) == pytest.approx(weight, rel=1e-5)
    reference = max(float(memory.mean_value), losses[-1])
    verdict = condition.judge(memory, origin(losses[-1]), trial(2.0, 7.0))
    assert float(verdict.too_long) == pytest.approx(7.0 - reference + 0.25 * 2.0)


@pytest.mark.parametrize("typical", [2.0, 0.0, -2.0])
@pytest.mark.parametrize(
    "condition", [optaxls.zhang_hager(0.5), optaxls.window_armijo(0.5, 3)]
)
def test_a_loss_that_exploded_does_not_rule_the_reference(condition, typical):
    memory = condition.init(jnp.ones(1))
    for value in (typical, 1e12, typical):
        memory = condition.observe(memory, origin(value))
        memory = condition.commit(memory, origin(value), outcome(0.5))
    allowed = -condition.judge(memory, origin(typical), trial(0.0, 0.0)).too_long
    # The only step before promised 0.5.
    assert typical < allowed <= typical + 10 * 0.5


def test_zhang_hager_with_decay_one_averages_and_with_zero_is_armijo():
    memories = {}
    for decay in (0.0, 1.0):
        condition = optaxls.zhang_hager(0.5, decay)
        memory = condition.init(jnp.ones(1))
        for value in (8.0, 4.0, 3.0):
            memory = condition.observe(memory, origin(value))
        memories[decay] = memory.mean_value
    assert memories == {0.0: 3.0, 1.0: 5.0}


def test_zhang_hager_never_refers_to_less_than_the_present_loss():
    condition = optaxls.zhang_hager(0.5)
    memory = condition.init(jnp.ones(1))
    for value in (1.0, 1.0, 100.0):
        memory = condition.observe(memory, origin(value))
    assert condition.judge(memory, origin(100.0), trial(1.0, 99.0)).too_long <= 0
    assert condition.judge(memory, origin(100.0), trial(1.0, 99.9)).too_long > 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(values, st.integers(1, 5))
@example([0.0625, 1.0, 0.0], 2)
def test_window_armijo_refers_to_the_largest_of_the_last_losses(losses, window):
    condition = optaxls.window_armijo(0.25, window)
    memory, deviation = condition.init(jnp.ones(1)), oracle.Deviation()
    entered = []
    for value in losses:
        memory = condition.observe(memory, origin(value))
        largest = max(entered[-window:], default=0.0)
        entered.append(deviation.enter(value, largest))
        memory = condition.commit(memory, origin(value), outcome(0.25))
        deviation.step(0.25)
    verdict = condition.judge(memory, origin(losses[-1]), trial(2.0, 7.0))
    reference = max(*entered[-window:], losses[-1])
    expected = 7.0 - reference + 0.25 * 2.0
    assert float(verdict.too_long) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_window_of_one_is_armijo():
    condition = optaxls.window_armijo(0.3, window=1)
    memory = condition.observe(condition.init(jnp.ones(1)), origin(100.0))
    memory = condition.observe(memory, origin(2.0))
    at, candidate = origin(2.0), trial(0.5, 1.9)
    expected = optaxls.armijo(0.3).judge((), at, candidate).too_long
    assert condition.judge(memory, at, candidate).too_long == expected


def test_smoothed_armijo_is_the_papers_arithmetic():
    c, decay = 0.5, 0.75
    condition = optaxls.smoothed_armijo(c, decay)
    memory = condition.init(jnp.ones(1))
    decrease = steepness = 0.0
    steps = [(3.0, 2.5, -2.0, 0.25), (2.0, 2.25, -1.0, 0.5), (4.0, 1.0, -8.0, 0.125)]
    for before, after, slope, step_size in steps:
        new_decrease = decay * decrease + (1 - decay) * (before - after)
        steepness = decay * steepness + (1 - decay) * -slope
        at = origin(before, slope)
        verdict = condition.judge(memory, at, trial(step_size, after, slope))
        # In units of this step's loss, of which a share of 1 - decay enters.
        expected = (c * step_size * steepness - new_decrease) / (1 - decay)
        assert float(verdict.too_long) == pytest.approx(expected, rel=1e-6)
        decrease = new_decrease
        memory = condition.commit(memory, at, outcome(step_size, value=after))
        assert float(memory.mean_decrease) == pytest.approx(decrease, rel=1e-6)
        assert float(memory.mean_steepness) == pytest.approx(steepness, rel=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(numbers, st.floats(0.05, 0.95), numbers)
def test_smoothed_armijo_without_a_past_is_armijo(curvature, c, step_size):
    smoothed = optaxls.smoothed_armijo(c, 0.9)
    memory = smoothed.init(jnp.ones(1))
    one = on_quadratic(smoothed, curvature, step_size, memory).too_long
    other = on_quadratic(optaxls.armijo(c), curvature, step_size).too_long
    assert float(one) == pytest.approx(float(other), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("ended", [(0, True), (100, False), (0, False)])
def test_smoothed_armijo_learns_from_successful_searches_only(ended):
    condition = optaxls.smoothed_armijo(0.5)
    num_trials, accepted = ended
    memory = condition.init(jnp.ones(1))
    after = condition.commit(memory, origin(), outcome(0.1, num_trials, accepted))
    assert after == memory


CONDITIONS = {
    "armijo": (optaxls.armijo(0.5), False),
    "zhang_hager": (optaxls.zhang_hager(0.5), True),
    "window_armijo": (optaxls.window_armijo(0.5), True),
    "smoothed_armijo": (optaxls.smoothed_armijo(0.5), True),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_only_nonmonotone_conditions_let_the_loss_rise(name):
    condition, may_rise = CONDITIONS[name]
    memory = condition.init(jnp.ones(1))
    earlier = origin(9.0)
    memory = condition.observe(memory, earlier)
    memory = condition.commit(memory, earlier, outcome(0.1, value=1.0))
    memory = condition.observe(memory, origin(1.0))
    rise = condition.judge(memory, origin(1.0), trial(0.1, 1.01))
    assert bool(rise.too_long <= 0) == may_rise
