"""optax's combinators around our rules: the right numbers, or what to write instead.

``COMBINATORS`` is the table of the page; each row names the test that holds it up.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests import problems
from tests.interop import combinations, numpy_optimizers, test_combinator_recipes
from tests.interop.combinations import (
    COMBINATIONS,
    FACTORIES,
    FIRST_LEAF,
    NOTHING_CHANGES,
    assert_close,
    expected,
    make,
    observed,
)

every_rule = pytest.mark.parametrize("name", FACTORIES)
# Where optax wraps a rule into ``lax.cond``, which compiles.
TWO_RULES = ("ponos", "sps")
two_rules = pytest.mark.parametrize("name", TWO_RULES)


class Row(NamedTuple):
    """What is combined, how it ends, a note, and the tests that show it."""

    name: str
    outcome: str
    note: str
    test: str


WORKS = "works"

COMBINATORS = [
    Row(
        "`chain`, `named_chain`",
        WORKS,
        "every part gets `value`, `grad`, `value_fn`",
        "test_numbers",
    ),
    Row(
        "clipping, momentum, any direction before a step-size rule",
        WORKS,
        "pass the raw `grad`: the slope is taken with it; uphill means no step; "
        "Polyak steps (`sps`, the first trial of `ponos`) undo a clip",
        "test_numbers",
    ),
    Row(
        "schedule, clipping, momentum after a step-size rule",
        WORKS,
        "changes the accepted step, untested; along a set, `keep_inside` comes last",
        "test_numbers",
    ),
    Row(
        "`contrib.reduce_on_plateau`",
        WORKS,
        "after the step-size rule: it scales the accepted step",
        "test_numbers",
    ),
    Row(
        "weight decay in the loss (L2)",
        WORKS,
        "in `value`, `grad` and `value_fn` alike: the search tests what is minimised",
        "test_decay_in_the_loss_is_decay_in_the_direction_tested_on_that_loss",
    ),
    Row(
        "weight decay in the direction",
        WORKS,
        "`chain(add_decayed_weights(d), step_rule)`: scaled by the step, tested, "
        "raw loss",
        "test_numbers",
    ),
    Row(
        "weight decay after the search",
        WORKS,
        "`chain(step_rule, add_decayed_weights(-d))`, mind the sign: d per step, "
        "untested",
        "test_numbers",
    ),
    Row(
        "weight decay by the step size found, as in AdamW",
        "use instead: `optaxls.decayed`",
        "`decayed(step_rule, d)`, also around a `chain` with a "
        "step-size rule: step size times d, untested",
        "test_decayed_is_the_line_in_the_loop",
    ),
    Row(
        "`partition` of directions, one step-size rule after it",
        WORKS,
        "different directions for different leaves, one search over the full tree",
        "test_numbers",
    ),
    Row(
        "`freeze(mask)` before a step-size rule",
        WORKS,
        "same as `optaxls.on_subset` without weight decay",
        "test_numbers",
    ),
    Row(
        "`masked`, `partition`, `selective_transform` around a step-size rule",
        "use instead: `optaxls.on_subset`",
        "`TypeError`: the loss cannot be masked with the updates",
        "test_errors_name_the_replacement",
    ),
    Row(
        "`flatten` around a step-size rule",
        "use instead: the step-size rule without it",
        "`TypeError`: `grad` and `value_fn` stay trees",
        "test_errors_name_the_replacement",
    ),
    Row(
        "`MultiSteps`",
        "use instead: `optaxls.accumulate`",
        "runs, but value and trials are the last micro-batch's",
        "test_multi_steps_searches_on_the_last_micro_batch_only",
    ),
    Row(
        "`apply_if_finite`",
        WORKS,
        "not needed: a step-size rule makes no step on a batch that is not finite",
        "test_apply_if_finite_and_a_rule_agree_on_a_broken_batch",
    ),
    Row(
        "`conditionally_mask`",
        WORKS,
        "no step and no search in between",
        "test_numbers",
    ),
    Row(
        "`conditionally_transform`",
        "use instead: `conditionally_mask`",
        "optax applies the raw gradient, uphill, in between",
        "test_conditionally_transform_climbs_in_between",
    ),
    Row(
        "`inject_hyperparams`",
        WORKS,
        "schedules for `c` and every other number",
        "test_a_schedule_for_c",
    ),
    Row(
        "`with_extra_args_support`, `snapshot`, `monitor`",
        WORKS,
        "before a step-size rule they see the gradient, after it the step",
        "test_numbers",
    ),
    Row(
        "`lookahead`",
        "use instead: the step-size rule, then `lookahead(identity(), ...)`",
        "optax's passes no `value` on: `TypeError`",
        "test_lookahead_after_a_rule",
    ),
    Row(
        "`contrib.schedule_free`",
        WORKS,
        "searches from the gradient's point y, moves z by it",
        "test_schedule_free_moves_z_by_the_step_found_at_y",
    ),
    Row(
        "averages of the params",
        WORKS,
        "`tail_averaged`; or outside: `incremental_update`, `ema` fed the params",
        "test_averages_of_the_params",
    ),
    Row(
        "`contrib.sam`",
        "use instead: a step-size rule on the shifted loss",
        "optax's passes no `value` on: `TypeError`; shift value, grad and value_fn",
        "test_sam_as_a_rule_on_the_shifted_loss",
    ),
    Row(
        "`contrib.mechanize`",
        "use instead: the step-size rule alone",
        "itself a step-size rule: it rescales the accepted step to about 1e-6",
        "test_mechanize_undoes_the_step_that_was_found",
    ),
    Row(
        "`contrib.split_real_and_imaginary`",
        "use instead: the step-size rule without it",
        "passes no `value` on: `TypeError`; complex params need no wrapper",
        "test_errors_name_the_replacement",
    ),
]


PAGE = pathlib.Path(optaxls.__file__).parent / "transforms" / "COMBINATORS.md"


def render() -> str:
    """The table of the page."""
    lines = [
        "| optax around or beside a step-size rule | outcome | note |",
        "|---|---|---|",
    ]
    lines += [f"| {row.name} | {row.outcome} | {row.note} |" for row in COMBINATORS]
    return "\n".join(lines)


def test_the_page_has_this_table():
    table = PAGE.read_text().split("<!-- combinators -->\n")[1]
    assert table.rstrip("\n") == render()


def test_every_row_names_a_test_that_exists():
    here = set(globals()) | set(vars(test_combinator_recipes))
    assert {row.test for row in COMBINATORS} <= here
    assert len({row.name for row in COMBINATORS}) == len(COMBINATORS)


# Around, before and after a rule, against the NumPy references.


# Every combination around ponos, every rule in a named chain; the rest is slow.
CASES = [
    pytest.param(
        name,
        combination,
        marks=()
        if name == "ponos" or combination == "named_chain"
        else pytest.mark.slow,
    )
    for name in FACTORIES
    for combination in COMBINATIONS
    if name in TWO_RULES or combination != "conditionally_mask"
]


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize(("name", "combination"), CASES)
def test_numbers(name, combination):
    """Three steps are those of the NumPy reference, combined by hand."""
    case = COMBINATIONS[combination]
    points, state = observed(case.wrap(make(name)))
    wanted = expected(name, case.before(), case.after(), case.active)
    assert_close(points, wanted)
    differs = not np.allclose(wanted, expected(name), rtol=1e-3)
    assert differs == ((name, combination) not in NOTHING_CHANGES)
    assert optaxls.metrics(state)["step_size"].shape == ()
    if combination == "monitor":
        last = np.linalg.norm(wanted[-1] - wanted[-2])
        assert optax.tree.get(state, "step_norm") == pytest.approx(last, rel=1e-3)
        norm = np.linalg.norm(combinations.CURVATURES * wanted[-2])
        assert optax.tree.get(state, "gradient_norm") == pytest.approx(norm, rel=1e-3)


@pytest.mark.slow
@every_rule
def test_a_schedule_for_c(name):
    """Each step is tested (for sps: scaled) with the ``c`` of its number."""

    def schedule(k):
        return 0.9 - 0.4 * k

    factory, arguments = FACTORIES[name]
    injected = optax.inject_hyperparams(factory)
    points, _ = observed(injected(c=schedule, **arguments))
    rule, x = numpy_optimizers.RULES[name](), combinations.START
    for k, point in enumerate(points):
        rule.c = schedule(k)
        grad = combinations.CURVATURES * x
        value = combinations.loss(x)
        x = x + rule.step(x, grad, value, grad, combinations.loss)[1]
        assert_close(point, x)
    # ponos tests against its mean loss, here as with its own c from then on.
    constant = {} if name == "ponos" else {"c": schedule(0)}
    other, _ = observed(factory(**constant, **arguments))
    assert not np.allclose(points[-1], other[-1], rtol=1e-2)


@pytest.mark.slow
@two_rules
def test_apply_if_finite_and_a_rule_agree_on_a_broken_batch(name):
    """Both make no step, and the step after it is that of an undisturbed run."""
    params = problems.quadratic_params()
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, params)
    for optimizer in (make(name), optax.apply_if_finite(make(name), 3)):
        updates, state = optimizer.update(
            broken,
            optimizer.init(params),
            params,
            value=jnp.array(jnp.nan),
            grad=broken,
            value_fn=problems.quadratic,
        )
        assert not combinations.vector(updates).any()
        updates, state = combinations.feed(optimizer, state, params)
        moved = combinations.START + combinations.vector(updates)
        assert_close(moved, expected(name)[0])
    assert state.total_notfinite == 1 and state.last_finite


LABELS = {"w": "trained", "b": "frozen"}
ON_W = {"w": True, "b": False}


def partitioned(rule):
    frozen = optax.set_to_zero()
    return optax.partition({"trained": rule, "frozen": frozen}, LABELS)


ERRORS = {
    "masked": (lambda rule: optax.masked(rule, ON_W), "on_subset"),
    "partition": (partitioned, "on_subset"),
    "selective_transform": (
        lambda rule: optax.selective_transform(rule, freeze_mask=FIRST_LEAF),
        "on_subset",
    ),
    "flatten": (optax.flatten, "flatten.*search outside"),
    "lookahead": (lambda rule: optax.lookahead(rule, 2, 0.5), "argument 'value'"),
    "sam": (
        lambda rule: optax.contrib.sam(rule, optax.sgd(0.1)),
        "argument 'value'",
    ),
    "split_real_and_imaginary": (
        optax.contrib.split_real_and_imaginary,
        "argument 'value'",
    ),
}


@pytest.mark.parametrize("combination", ERRORS)
@every_rule
def test_errors_name_the_replacement(name, combination):
    """Never a wrong step; where optax itself refuses ``value``, it says so."""
    wrap, message = ERRORS[combination]
    optimizer, params = wrap(make(name)), problems.quadratic_params()
    with pytest.raises(TypeError, match=message):
        combinations.feed(optimizer, optimizer.init(params), params)


@pytest.mark.parametrize("wrap", [ERRORS["masked"][0], partitioned])
def test_a_masked_polyak_step_is_refused_also_without_grad(wrap):
    """Else the loss of all leaves would be divided by the norm of some."""
    optimizer, params = wrap(make("sps")), problems.quadratic_params()
    value, grad = jax.value_and_grad(problems.quadratic)(params)
    with pytest.raises(TypeError, match="on_subset"):
        optimizer.update(grad, optimizer.init(params), params, value=value)


@pytest.mark.slow
@two_rules
def test_conditionally_transform_climbs_in_between(name):
    optimizer = optax.conditionally_transform(make(name), lambda k: k % 2 == 0)
    points, _ = observed(optimizer, 2)
    assert_close(points[1], points[0] * (1 + combinations.CURVATURES))
    assert combinations.loss(points[1]) > combinations.loss(points[0])
