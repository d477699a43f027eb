"""Safety: what a step does when something is wrong, and that it recovers."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems
from tests.problems import ALIASES, FAILED_SEARCH, GOOD, NON_FINITE, SEARCHING, Fault

BAD = [float("nan"), float("inf"), -float("inf")]
CONDITIONS = {
    "armijo": optaxls.armijo(0.5),
    "goldstein": optaxls.goldstein(0.1),
    "zhang_hager": optaxls.zhang_hager(0.5),
    "window_armijo": optaxls.window_armijo(0.5),
    "smoothed_armijo": optaxls.smoothed_armijo(0.5),
    "always_accept": optaxls.always_accept(),
}
SEARCHES = {
    "backtracking": optaxls.backtracking(0.5),
    "adaptive_backtracking": optaxls.adaptive_backtracking(0.5),
    "parallel_candidates": optaxls.parallel_candidates(3, 0.5),
    "bracketing": optaxls.bracketing(2.0),
}


def search(value_fn, *, direction=-1.0, grad=1.0, value=0.5, first=1.0, **arguments):
    """From w = 1, by default with f = w^2 / 2, along ``direction``."""
    arguments = {"condition": optaxls.armijo(0.5)} | arguments
    arguments = {"initial_step": optaxls.constant(first)} | arguments
    arguments = {"search": optaxls.backtracking(0.5)} | arguments
    return optaxls.line_search(
        value_fn,
        jnp.array([1.0]),
        jnp.array([direction]),
        value=jnp.array(value),
        grad=jnp.array([grad]),
        **arguments,
    )


def memories(state):
    """What the rules of a state remember: all but the report of the last step."""
    nodes = jax.tree.leaves(
        state, is_leaf=lambda node: hasattr(node, "trial_value") or _is_moments(node)
    )
    kept = [node for node in nodes if _is_moments(node)]
    rules = [node for node in nodes if hasattr(node, "trial_value")]
    assert rules
    return kept, [(rule.condition, rule.initial_step, rule.gate) for rule in rules]


def _is_moments(node):
    return hasattr(node, "second_moment")


def assert_finite(tree):
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


def assert_no_move(tree):
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(tree))


# Goldstein's search grows from below to the near end of its interval; SaLSA's averages
# hold the decrease of the tiny step that found the way back.
USEFUL = {"sls_goldstein": 0.1, "salsa": 0.05, "salsa_ungated": 0.05}


def assert_recovered(name, records):
    """Within the three good steps: a step size like those without the fault."""
    usual = problems.run(name, [GOOD] * 6)
    usual_step = min(float(record["step_size"]) for record in usual)
    best = max(float(record["step_size"]) for record in records)
    assert best >= USEFUL.get(name, 0.25) * usual_step
    assert bool(records[-1]["accepted"])


# One trial that is not finite.


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_non_finite_trial_is_rejected(condition, bad):
    result = search(
        lambda w: jnp.where(w[0] < 0.7, bad, 0.5 * w[0] ** 2),
        condition=CONDITIONS[condition],
    )
    assert result.step_size == 0.25 and result.num_trials == 3
    assert result.accepted and result.params[0] == 0.75


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_rejects_non_finite_trials(name, bad):
    result = search(
        lambda w: jnp.where(w[0] < 0.7, bad, 0.5 * w[0] ** 2), search=SEARCHES[name]
    )
    assert result.step_size == 0.25 and result.accepted


def test_a_condition_that_says_nan_rejects():
    condition = optaxls.stateless_condition(
        lambda origin, trial: jnp.where(trial.step_size > 0.3, jnp.nan, -1.0)
    )
    result = search(lambda w: 0.5 * w[0] ** 2, condition=condition)
    assert result.step_size == 0.25 and result.accepted


def test_a_verdict_that_is_a_bool_is_refused():
    """True is 1, which would mean too long."""
    better = optaxls.stateless_condition(lambda origin, trial: trial.value < 1.0)
    with pytest.raises(TypeError, match="numbers in loss units"):
        search(lambda w: 0.5 * w[0] ** 2, condition=better)


def test_a_too_short_verdict_of_nan_does_not_grow():
    condition = optaxls.stateless_condition(
        lambda origin, trial: optaxls.Verdict(jnp.array(-1.0), jnp.array(jnp.nan))
    )
    growing = optaxls.backtracking(0.5, increase_factor=2.0)
    result = search(lambda w: 0.5 * w[0] ** 2, condition=condition, search=growing)
    assert result.num_trials == 1 and result.accepted


# A spent budget.


def only_below(longest):
    """Falls on steps up to ``longest`` from 1, and is a plateau beyond them."""
    return lambda w: jnp.where(w[0] < 1 - longest, 0.5, 0.5 * w[0] ** 2)


SMALL_BUDGETS = {
    "backtracking": optaxls.backtracking(0.5, max_trials=3),
    "adaptive_backtracking": optaxls.adaptive_backtracking(0.5, max_trials=3),
    "parallel_candidates": optaxls.parallel_candidates(2, 0.5, max_trials=3),
    "bracketing": optaxls.bracketing(2.0, max_trials=3),
}


@pytest.mark.parametrize("name", SMALL_BUDGETS)
def test_a_spent_budget_takes_the_fallback_step(name):
    never = optaxls.stateless_condition(lambda origin, trial: 1.0 + 0 * trial.value)
    loss = lambda w: 0.5 * w[0] ** 2  # noqa: E731
    result = search(loss, search=SMALL_BUDGETS[name], condition=never)
    assert not result.accepted and result.num_trials == 4
    assert result.step_size == jnp.float32(1e-6)
    assert result.params[0] == jnp.float32(1.0) - result.step_size
    assert result.value == loss(result.params)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_a_fallback_step_that_climbs_is_not_taken(name):
    result = search(lambda w: 1.0 + 0.5 * w[0] ** 2, search=SEARCHES[name])
    assert not result.accepted
    assert result.step_size == 0 and result.params[0] == 1.0
    assert result.value == 0.5


def test_the_fallback_step_is_the_one_asked_for_and_one_trial_more():
    limited = optaxls.backtracking(0.5, max_trials=3)
    result = search(only_below(0.02), search=limited, fallback_step=0.01)
    assert result.num_trials == 4 and not result.accepted
    assert result.step_size == jnp.float32(0.01)


def test_a_fallback_step_of_0_costs_no_trial():
    limited = optaxls.backtracking(0.5, max_trials=3)
    result = search(only_below(0.02), search=limited, fallback_step=0.0)
    assert result.num_trials == 3 and result.step_size == 0


def test_the_fallback_is_never_longer_than_what_was_rejected():
    limited = optaxls.backtracking(0.5, max_trials=3)
    result = search(only_below(0.2), search=limited, fallback_step=10.0)
    assert not result.accepted
    assert result.step_size == 0.125


def test_a_fallback_step_does_not_throw_the_params_onto_a_plateau():
    """1e-6 along a slope of 1e7 moves w from 0 to 10, where tanh has no slope."""
    loss = lambda w: 1e7 * jnp.sum((jnp.tanh(w) - 0.5) ** 2)  # noqa: E731
    optimizer = optaxls.sls(steps_per_epoch=10)
    step = jax.jit(optaxls.make_step(loss, optimizer))
    w = jnp.zeros(1)
    state = optimizer.init(w)
    for _ in range(20):
        w, state, *_ = step(w, state)
        assert abs(float(w[0])) < 2
    assert float(jnp.tanh(w[0])) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD)
def test_no_fallback_next_to_a_pole(bad):
    result = search(lambda w: jnp.full_like(w[0], bad))
    assert result.step_size == 0 and result.params[0] == 1.0
    assert not result.accepted and result.num_trials == 101


# Nothing downhill, nothing finite.


def test_an_ascent_direction_gives_no_step():
    result = search(lambda w: 0.5 * w[0] ** 2, direction=1.0)
    assert result.step_size == 0 and result.params[0] == 1.0
    assert not result.accepted and result.num_trials == 0


def test_an_ascent_direction_gives_no_untested_step_either():
    rule = optaxls.scale_by_initial_step(optaxls.constant(0.5))
    w = jnp.array([1.0])
    updates, state = rule.update(w, rule.init(w), w, grad=w)
    assert updates[0] == 0 and state.step_size == 0 and not state.accepted


@pytest.mark.parametrize("direction", [0.0, -1.0])
def test_a_zero_slope_gives_no_step(direction):
    result = search(lambda w: 0.5 * w[0] ** 2 - 1, grad=0.0, direction=direction)
    assert result.step_size == 0 and result.params[0] == 1.0
    assert not result.accepted and result.num_trials == 0


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("what", ["value", "grad", "direction"])
def test_a_non_finite_origin_gives_no_step(what, bad):
    result = search(lambda w: 0.5 * w[0] ** 2 - 1, **{what: bad})
    assert result.step_size == 0 and result.params[0] == 1.0
    assert not result.accepted and result.num_trials == 0


@pytest.mark.parametrize("proposal", [float("nan"), -1.0, 0.0])
def test_an_unusable_proposal_gives_no_step(proposal):
    rule = optaxls.constant(1.0)._replace(propose=lambda memory, origin: proposal)
    result = search(lambda w: 0.5 * w[0] ** 2, initial_step=rule)
    assert result.step_size == 0 and result.params[0] == 1.0
    assert not result.accepted and result.num_trials == 0


def test_an_infinite_proposal_is_searched_from_the_largest_number():
    rule = optaxls.constant(1.0)._replace(propose=lambda memory, origin: jnp.inf)
    quick = optaxls.backtracking(1e-3)
    result = search(lambda w: 0.5 * w[0] ** 2, initial_step=rule, search=quick)
    assert result.accepted and 1e-3 < result.step_size <= 1.0


# The table: every alias.


@pytest.mark.parametrize(
    "name,fault",
    [
        (name, fault)
        for name, case in ALIASES.items()
        for fault in NON_FINITE
        if "value" in case.uses or "value" not in fault
    ],
)
def test_a_non_finite_batch_changes_nothing_and_is_forgotten(name, fault):
    case = ALIASES[name]
    records = problems.run(name, [GOOD] * 3 + [NON_FINITE[fault]] + [GOOD] * 3)
    before, bad, after = records[2], records[3], records[4:]
    assert not bad["accepted"]
    assert bad["step_size"] == 0 and bad["num_trials"] == 0
    chex.assert_trees_all_equal(memories(bad["state"]), memories(before["state"]))
    for record in records:
        assert_finite(record["params"])
        assert_finite(record["updates"])
    if not case.goes_on:
        assert_no_move(bad["updates"])
        undisturbed = problems.run(name, [GOOD] * 6)
        chex.assert_trees_all_equal(after[-1]["params"], undisturbed[5]["params"])
    assert_recovered(name, after)


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("fault", FAILED_SEARCH)
@pytest.mark.parametrize("name", SEARCHING)
def test_a_failed_search_is_recovered_from(name, fault):
    records = problems.run(name, [GOOD] * 3 + [FAILED_SEARCH[fault]] + [GOOD] * 3)
    bad = records[3]
    assert not bad["accepted"]
    assert bad["step_size"] <= 1e-6
    if fault != "trials_always_larger":
        assert bad["step_size"] == 0
    for record in records:
        assert_finite(record["updates"])
    assert_recovered(name, records[4:])


@pytest.mark.parametrize("name", SEARCHING)
def test_a_failed_first_search_is_recovered_from(name):
    records = problems.run(name, [Fault(offset=1e4)] + [GOOD] * 3)
    assert not records[0]["accepted"]
    assert_recovered(name, records[1:])


@pytest.mark.parametrize("fault", ["trials_always_larger", "trials_all_nan"])
@pytest.mark.parametrize("name", SEARCHING)
def test_many_failed_searches_are_recovered_from(name, fault):
    """0.9**1200 is 0 in float32: a step size that reached 0 would stay there."""
    records = problems.run(name, [GOOD] * 3 + [FAILED_SEARCH[fault]] * 12 + [GOOD] * 3)
    assert not any(record["accepted"] for record in records[3:15])
    assert_recovered(name, records[15:])


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("name", ALIASES)
def test_a_plateau_is_recovered_from(name):
    """A step size that grows while nothing is downhill ends at infinity."""
    flat = problems.run(name, [GOOD] * 3 + [Fault(grad=0.0)] * 300 + [GOOD] * 3)
    for record in flat[3:303]:
        assert not record["accepted"] and record["num_trials"] == 0
    usual = problems.run(name, [GOOD] * 6)
    if not ALIASES[name].goes_on:
        assert_no_move(flat[302]["updates"])
    # Adam's second moments fade on the plateau, so its step sizes may be shorter.
    best = max(float(record["step_size"]) for record in flat[303:])
    assert best >= 0.05 * min(float(record["step_size"]) for record in usual)


@pytest.mark.parametrize("name", ["sls", "sls_extragradient", "sls_goldstein"])
def test_a_plateau_does_not_move_the_next_first_trial(name):
    alone = problems.run(name, [GOOD] * 2)[1]["num_trials"]
    after = problems.run(name, [GOOD] + [Fault(grad=0.0)] * 100 + [GOOD])[-1]
    assert after["num_trials"] <= alone + 12


def test_updates_stay_finite_through_every_fault_in_turn():
    faults = [*NON_FINITE.values(), *FAILED_SEARCH.values(), Fault(grad=0.0)]
    for name in ALIASES:
        sequence = [step for fault in faults for step in (fault, GOOD)]
        for record in problems.run(name, sequence):
            assert_finite(record["updates"])
            assert_finite(record["params"])


def test_a_non_finite_direction_with_a_zero_step_moves_nothing():
    updates = jnp.array([jnp.nan, jnp.inf])
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    w = jnp.array([1.0, 2.0])
    moved, _ = tx.update(
        updates, tx.init(w), w, value=jnp.array(1.0), grad=w, value_fn=jnp.sum
    )
    chex.assert_trees_all_equal(optax.apply_updates(w, moved), w)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e6, 1e12])
def test_an_exploded_batch_does_not_throw_the_params_away(scale):
    """A fixed fallback of 1e-6 along a gradient of 1e12 moves the params by 1e6."""
    with jax.enable_x64(True):
        w = jnp.array([1.0])
        result = optaxls.line_search(
            lambda w: scale * 0.5 * jnp.sum(w**2),
            w,
            -scale * w,
            value=jnp.array(0.5 * scale),
            grad=scale * w,
            condition=optaxls.armijo(0.1),
            initial_step=optaxls.constant(1.0),
            search=optaxls.backtracking(0.9, max_trials=3),
        )
    assert not result.accepted
    assert abs(float(result.params[0])) <= 1
