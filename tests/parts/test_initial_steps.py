"""Initial steps: closed forms, memories, and the way back from a failed search."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from optaxls.parts.initial_steps._polyak_ratio import polyak_ratio
from tests.parts.samples import origin, outcome

PARAMS = jnp.ones(2)
numbers = st.floats(0.125, 8.0, width=32)


def propose(rule, memory, at=None):
    return float(rule.propose(memory, origin() if at is None else at))


def test_constant_is_constant():
    rule = optaxls.constant(0.3)
    memory = rule.commit(rule.init(PARAMS), origin(), outcome(0.1))
    assert propose(rule, memory) == pytest.approx(0.3)


def test_grow_multiplies_by_growth_in_an_epoch():
    rule = optaxls.grow(0.25, growth=3.0, steps_per_epoch=7)
    memory = rule.init(PARAMS)
    assert propose(rule, memory) == pytest.approx(0.25 * 3 ** (1 / 7))
    for _ in range(7):
        memory = rule.commit(memory, origin(), outcome(propose(rule, memory)))
    assert float(memory.start) == pytest.approx(0.75, rel=1e-6)


def test_grow_goes_on_from_the_accepted_step_up_to_its_cap():
    rule = optaxls.grow(1.0, growth=2.0, max_step_size=0.7)
    memory = rule.commit(rule.init(PARAMS), origin(), outcome(0.1, num_trials=5))
    assert propose(rule, memory) == pytest.approx(0.2)
    memory = rule.commit(memory, origin(), outcome(0.6))
    assert propose(rule, memory) == pytest.approx(0.7)


@pytest.mark.parametrize("accepted", [True, False])
def test_grow_learns_nothing_without_a_search(accepted):
    """A gated step is grown once, not once per step; a plateau does not grow it."""
    rule = optaxls.grow(1.0, growth=2.0)
    memory = rule.init(PARAMS)
    for _ in range(3):
        step = outcome(propose(rule, memory), num_trials=0, accepted=accepted)
        memory = rule.commit(memory, origin(), step)
    assert propose(rule, memory) == 2.0


@pytest.mark.parametrize("accepted", [True, False])
def test_scheduled_follows_the_count_whatever_was_found(accepted):
    rule = optaxls.scheduled(lambda count: 1 / (count + 1.0))
    memory, seen = rule.init(PARAMS), []
    for _ in range(4):
        seen.append(propose(rule, memory))
        memory = rule.commit(memory, origin(), outcome(1e-3, accepted=accepted))
    assert seen == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert memory.num_steps.dtype == jnp.int32


def test_scheduled_starts_a_search_and_a_schedule_at_0_makes_no_step():
    tx = optaxls.scale_by_line_search(
        optaxls.armijo(0.5),
        optaxls.scheduled(lambda count: jnp.where(count == 0, 4.0, 0.0)),
        optaxls.backtracking(0.5),
    )
    state, found = tx.init(PARAMS), []
    for _ in range(2):
        updates, state = tx.update(
            -PARAMS,
            state,
            PARAMS,
            value=jnp.array(1.0),
            grad=PARAMS,
            value_fn=lambda w: 0.5 * jnp.sum(w**2),
        )
        found.append(updates.tolist())
    # From 4, halved to 1, the minimum of the quadratic.
    assert found == [[-1.0, -1.0], [0.0, 0.0]]


def test_scheduled_does_not_count_a_batch_that_is_not_finite():
    tx = optaxls.scale_by_initial_step(optaxls.scheduled(lambda count: 1.0))
    state = tx.init(PARAMS)
    for value in (1.0, float("nan"), 1.0):
        _, state = tx.update(-PARAMS, state, PARAMS, value=value, grad=PARAMS)
    assert state.initial_step.num_steps == 2


RESUMING = {
    "grow": lambda: optaxls.grow(1.0, growth=1.0),
    "polyak": lambda: optaxls.polyak(1.0, memory=0.5, eps=0.0),
}


NEVER = -1.0


def searches(rule, longest_steps, max_trials=4):
    """Reports of searches that accept steps up to ``longest``, from slope -1, f = 1.

    Both rules propose 1 at first and halve: 1, 1/2, 1/4, 1/8, then 1/16 is next.
    """
    memories, reports = None, []
    for longest in longest_steps:
        condition = optaxls.stateless_condition(
            lambda origin, trial, longest=longest: trial.step_size - longest
        )
        result = optaxls.line_search(
            lambda w: jnp.array(1.0),
            jnp.array([0.0]),
            jnp.array([1.0]),
            value=jnp.array(1.0),
            grad=jnp.array([-1.0]),
            condition=condition,
            initial_step=rule,
            search=optaxls.backtracking(0.5, max_trials=max_trials),
            memories=memories,
        )
        memories = result.memories
        reports.append((float(result.step_size), int(result.num_trials)))
    return reports


@pytest.mark.parametrize("rule", RESUMING)
def test_a_first_guess_far_off_is_resumed_until_the_scale_is_found(rule):
    reports = searches(RESUMING[rule](), [2.0**-10] * 10)
    assert [trials for _, trials in reports[:2]] == [5, 5]
    assert all(step <= 2.0**-10 for step, _ in reports)
    # grow keeps the step; the power of PoNoS falls by one after a first-try success.
    assert all(step == 2.0**-10 and trials <= 2 for step, trials in reports[5:])


@pytest.mark.parametrize("rule", RESUMING)
def test_a_bad_batch_is_gone_back_from(rule):
    reports = searches(RESUMING[rule](), [1.0, 1.0, NEVER, 1.0, 1.0, 1.0])
    steps = [step for step, _ in reports]
    assert steps[:2] == [1.0, 1.0]
    assert steps[2] <= 1e-6 and reports[2][1] == 5
    assert reports[3][1] == 1 and 0 < steps[3] <= 0.25
    assert steps[4:] == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("num_bad", [1, 2, 8])
@pytest.mark.parametrize("rule", RESUMING)
def test_any_number_of_bad_batches_is_gone_back_from(rule, num_bad):
    reports = searches(
        RESUMING[rule](), [1.0, *[NEVER] * num_bad, 1.0, 1.0], max_trials=40
    )
    assert reports[-2][1] == 1 and reports[-1] == (1.0, 1)


@pytest.mark.parametrize("rule", RESUMING)
def test_a_scale_that_changed_for_good_is_not_gone_back_from(rule):
    """The resumed search needs several trials: 1 is too long for this batch as well."""
    reports = searches(RESUMING[rule](), [1.0, *[1 / 64] * 8])
    assert reports[1][1] == 5 and reports[1][0] <= 1e-6
    settled = [report for report in reports if report[0] == 1 / 64]
    assert len(settled) >= 6 and all(trials <= 3 for _, trials in reports[3:])


def test_a_first_guess_that_several_batches_refused_is_not_gone_back_to():
    """1, ..., 1/8 and 1/16, ..., 1/128 fail; 1/256 is then the first trial."""
    reports = searches(RESUMING["grow"](), [1 / 256] * 12)
    assert [trials for _, trials in reports] == [5, 5, *[1] * 10]
    assert all(step == 1 / 256 for step, _ in reports[2:])


@pytest.mark.slow
@pytest.mark.parametrize("rule", RESUMING)
def test_two_levels_do_not_alternate_for_ever(rule):
    """1/16 is where the first search gives up and what every batch accepts."""
    reports = searches(RESUMING[rule](), [1 / 16] * 30)
    failed = [step for step, _ in reports if step <= 1e-6]
    assert len(failed) <= 2
    assert all(step == 1 / 16 for step, _ in reports[-20:])


@pytest.mark.parametrize("rule", RESUMING)
def test_after_settling_on_a_level_a_bad_batch_is_gone_back_from_again(rule):
    reports = searches(RESUMING[rule](), [*[1 / 16] * 10, NEVER, *[1 / 16] * 3])
    assert reports[-1][0] == 1 / 16 and reports[-1][1] <= 2


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(numbers, numbers, numbers)
def test_polyak_on_a_quadratic_is_one_over_two_c_curvature(curvature, polyak_c, w):
    at = origin(0.5 * curvature * w**2, -((curvature * w) ** 2))
    rule = optaxls.polyak(polyak_c, eps=0.0)
    expected = 1 / (2 * polyak_c * curvature)
    assert propose(rule, (), at) == pytest.approx(expected, rel=1e-5)


def test_polyak_subtracts_the_bound_adds_eps_and_clips():
    at = origin(value=3.0, slope=-2.0)
    assert propose(optaxls.polyak(0.5, 1.0, eps=3.0), (), at) == 0.5
    assert propose(optaxls.polyak(0.5, eps=0.0, max_step_size=2.5), (), at) == 2.5
    assert propose(optaxls.polyak(0.5, eps=0.0, min_step_size=7.0), (), at) == 7.0


def test_polyak_prefers_the_bound_of_the_batch():
    at = origin(value=3.0, slope=-1.0, lower_bound=2.0)
    assert propose(optaxls.polyak(0.5, lower_bound=-5.0, eps=0.0), (), at) == 2.0


@pytest.mark.parametrize("value,slope", [(1.0, -1.0), (-3.0, -1.0), (5.0, 1.0)])
def test_polyak_proposes_nothing_at_its_bound_or_uphill(value, slope):
    rule = optaxls.polyak(0.5, lower_bound=1.0, eps=0.0)
    assert propose(rule, (), origin(value, slope)) == 0


@pytest.mark.parametrize("value,slope", [(-3.0, -1.0), (5.0, 1.0), (5.0, 0.0)])
def test_the_polyak_ratio_is_never_negative_or_infinite(value, slope):
    assert polyak_ratio(origin(value, slope), 0.5, 1.0, 0.0) == 0


def test_polyak_memory_counts_backtracks():
    """l <- max(l + e - 1, 0): e backtracks are e + 1 trials."""
    rule = optaxls.polyak(1.0, memory=0.5, eps=0.0)
    memory, expected = rule.init(PARAMS), 0
    for backtracks in (0, 4, 2, 0, 1, 0, 0, 0, 0, 0):
        assert propose(rule, memory) == 0.5**expected
        memory = rule.commit(memory, origin(), outcome(0.1, backtracks + 1))
        expected = max(expected + backtracks - 1, 0)
        assert memory.start == expected
    memory = rule.commit(memory, origin(), outcome(0.1, num_trials=0))
    assert memory.start == expected


def test_smoothed_polyak_grows_no_faster_than_its_rate():
    rule = optaxls.smoothed_polyak(
        0.5, initial_step_size=0.1, growth=4.0, steps_per_epoch=2, eps=0.0
    )
    memory, steps = rule.init(PARAMS), []
    for _ in range(6):
        step = propose(rule, memory, origin(1.0, -1.0))
        memory = rule.commit(memory, origin(), outcome(step, num_trials=0))
        steps.append(step)
    assert steps == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


@pytest.mark.parametrize("step,accepted", [(0.0, False), (0.0, True), (9.0, False)])
def test_smoothed_polyak_keeps_its_cap_where_nothing_moved(step, accepted):
    """The authors' code stores 0 and never moves again."""
    rule = optaxls.smoothed_polyak(initial_step_size=0.25)
    memory = rule.init(PARAMS)
    after = rule.commit(memory, origin(), outcome(step, 0, accepted))
    assert after.last_step == 0.25


def capped_steps(ratios):
    rule = optaxls.smoothed_polyak(0.5, initial_step_size=1.0, growth=2.0, eps=0.0)
    memory, steps = rule.init(PARAMS), []
    for ratio in ratios:
        steps.append(propose(rule, memory, origin(0.5 * ratio, -1.0)))
        memory = rule.commit(memory, origin(), outcome(steps[-1], num_trials=0))
    return steps


def test_smoothed_polyak_believes_a_collapse_once_it_is_confirmed():
    """One exploded batch leaves the cap; two, or a first one, are what the loss is."""
    once = capped_steps([1.0, 1e-6, 1.0, 1e-6, 1.0])
    assert once == pytest.approx([1.0, 1e-6, 1.0, 1e-6, 1.0])
    assert capped_steps([1.0, 1e-6, 1e-6, 1.0])[-1] == pytest.approx(2e-6)
    assert capped_steps([1e-6, 1.0])[-1] == pytest.approx(2e-6)
    assert capped_steps([1.0, 0.02, 1.0])[-1] == pytest.approx(0.04)


def barzilai_borwein_steps(curvatures, num_steps, **arguments):
    rule = optaxls.barzilai_borwein(0.01, **arguments)
    w, memory, steps = jnp.ones(len(curvatures)), None, []
    memory = rule.init(w)
    for _ in range(num_steps):
        grad = jnp.array(curvatures) * w
        at = origin(params=w, grad=grad)
        step = rule.propose(memory, at)
        memory = rule.commit(memory, at, outcome(float(step), 0))
        w = w - step * grad
        steps.append(float(step))
    return steps, w


@pytest.mark.parametrize("curvature", [0.02, 1.0, 50.0])
def test_barzilai_borwein_finds_one_over_the_curvature(curvature):
    steps, w = barzilai_borwein_steps([curvature], 2)
    assert steps == pytest.approx([0.01, 1 / curvature], rel=1e-3)
    assert abs(float(w[0])) < 1e-4


def test_barzilai_borwein_is_the_secant_quotient():
    steps, _ = barzilai_borwein_steps([1.0, 3.0], 2)
    s, y = [-0.01, -0.03], [-0.01, -0.09]
    quotient = (s[0] ** 2 + s[1] ** 2) / (s[0] * y[0] + s[1] * y[1])
    assert steps[1] == pytest.approx(quotient, rel=1e-4)


def test_barzilai_borwein_keeps_its_step_over_negative_curvature_and_clips():
    assert barzilai_borwein_steps([-1.0], 3)[0] == pytest.approx([0.01] * 3)
    assert barzilai_borwein_steps([1e-3], 2, max_step_size=5.0)[0][1] == 5.0
    assert barzilai_borwein_steps([1e3], 2, min_step_size=0.02)[0][1] == (
        pytest.approx(0.02)
    )


def test_barzilai_borwein_with_a_window_solves_an_ill_conditioned_quadratic():
    curvatures = jnp.array([1.0, 10.0, 100.0])

    def loss(w):
        return 0.5 * jnp.sum(curvatures * w**2)

    w, memories = jnp.ones(3), None
    for _ in range(60):
        value, grad = jax.value_and_grad(loss)(w)
        if value < 1e-10:
            break
        result = optaxls.line_search(
            loss,
            w,
            -grad,
            value=value,
            grad=grad,
            condition=optaxls.window_armijo(1e-4, window=5),
            initial_step=optaxls.barzilai_borwein(),
            memories=memories,
        )
        w, memories = result.params, result.memories
    assert loss(w) < 1e-10


def test_capped_caps_and_keeps_the_memory():
    rule = optaxls.capped(optaxls.grow(4.0, growth=1.0), 1.5)
    memory = rule.init(PARAMS)
    assert propose(rule, memory) == 1.5
    assert propose(rule, rule.commit(memory, origin(), outcome(0.5))) == 0.5
    assert optaxls.capped(optaxls.barzilai_borwein(), 1.0).uses == ("grad",)
