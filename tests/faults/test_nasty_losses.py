"""The promises hold on nasty losses: every optimizer, thousands of drawn cases.

A case is a start, a run of nasty losses, wrong signs and noise, see ``nasty_losses``.
Each optimizer meets ``EXAMPLES`` batches of ``BATCH`` drawn cases, so that there are
``len(ROWS) * EXAMPLES * BATCH`` cases, each of ``LENGTH`` steps.
"""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults import nasty_losses as fault_cases
from tests.faults.nasty_losses import (
    LOSSES,
    NASTY,
    ROWS,
    TREES,
    WARM,
    Case,
    Record,
)
from tests.problems import SEARCHING

BATCH, EXAMPLES, MAX_TRIALS = 64, 2, 100
QUICK = ("auto",)
CURVATURE = ("newton", "hessian_free", "stochastic_lbfgs")
MONOTONE = [
    name
    for name in SEARCHING
    if name.startswith(("sls", "adam_sls", "amsgrad", "lbfgs", *CURVATURE))
]
MONOTONE.remove("sls_extragradient")
# Each optimizer on one kind of tree, in turn: one quickly, every third one
# slow, the rest long.
_TREE_OF = {name: list(TREES)[i % len(TREES)] for i, name in enumerate(ROWS)}


def _combination(name: str, tree: str) -> Any:
    # Tests of one program go to one worker.
    marks = [pytest.mark.xdist_group(f"faults_{name}_{tree}")]
    if name not in QUICK:
        third = list(ROWS).index(name) % 3 == 1
        marks.append(pytest.mark.slow if third else pytest.mark.long)
    return pytest.param(name, tree, marks=marks)


COMBINATIONS = [_combination(name, tree) for name, tree in _TREE_OF.items()]

cases = st.builds(
    Case,
    kinds=st.lists(st.sampled_from(list(LOSSES)), min_size=1, max_size=NASTY).map(
        tuple
    ),
    start=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
    noise=st.sampled_from([0.0, 0.0, 1e-3, 0.3]),
    gradient_sign=st.sampled_from([1, 1, -1]),
    direction_sign=st.sampled_from([1, 1, -1]),
    seed=st.integers(0, 2**20),
)
campaign = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def where(bad: np.ndarray, batch: list[Case], tree: str) -> str:
    """The first offender of an array ``(cases, steps)``, ready to be run alone."""
    case, step = np.argwhere(bad)[0]
    return f"step {step} of {batch[case]} on {tree}, {bad.sum()} steps in all"


def rounding(records: Record, tree: str) -> np.ndarray:
    """The forgiven difference of losses, as the documentation of the rule has it."""
    vector = jax.eval_shape(TREES[tree], jax.ShapeDtypeStruct((6,), np.float32))
    eps = np.concatenate(
        [
            np.full(leaf.size, float(jax.numpy.finfo(leaf.dtype).eps))
            for leaf in jax.tree.leaves(vector)
            if jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)
        ]
    )
    value = np.abs(records.value.astype(np.float64))
    with np.errstate(all="ignore"):
        product = records.params.astype(np.float64) * records.gradient
        noise = np.linalg.norm(eps * product, axis=-1) + 4 * 2.0**-23 * value
    return np.nan_to_num(np.minimum(noise, value), posinf=0.0)


@functools.cache
def ran(name: str, tree: str) -> list[tuple[list[Case], Any, Record]]:
    """The drawn batches, the last carry and the records of each."""
    batches = []

    # Hypothesis draws by the text of this function: another text, other cases.
    @campaign
    @given(st.lists(cases, min_size=BATCH, max_size=BATCH, unique=True))
    def run(batch: list[Case]) -> None:
        end, records = fault_cases.episodes(name, tree)(*fault_cases.stack(batch))
        batches.append((batch, end, jax.tree.map(np.asarray, records)))

    with np.errstate(all="ignore"):
        run()
    return batches


def test_there_are_at_least_two_thousand_cases():
    assert len(ROWS) * EXAMPLES * BATCH >= 2000


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_as_many_cases_are_run_as_are_counted(name, tree):
    drawn = [case for batch, *_ in ran(name, tree) for case in batch]
    assert len(drawn) == EXAMPLES * BATCH
    assert len(set(drawn)) > 0.9 * len(drawn)
    assert {kind for case in drawn for kind in case.kinds} == set(LOSSES)


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_updates_stay_finite(name, tree):
    for batch, _, records in ran(name, tree):
        finite = np.isfinite(records.updates).all(-1)
        bad = records.params_finite & ~finite
        assert not bad.any(), where(bad, batch, tree)
        assert records.params_finite[:, : WARM + 1].all()


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_the_budget_is_kept_and_the_report_is_honest(name, tree):
    for batch, _, records in ran(name, tree):
        report = records.report
        # A failed search tries the fallback step besides.
        most = MAX_TRIALS + ~report["accepted"]
        over = (report["num_trials"] > most) | (report["num_trials"] < 0)
        assert not over.any(), where(over, batch, tree)
        assert np.isfinite(report["step_size"]).all()
        assert (report["step_size"] >= 0).all()
        # Only a step that was taken is called accepted.
        none = report["accepted"] & (report["step_size"] == 0)
        assert not none.any(), where(none, batch, tree)
        # A search that found nothing takes no more than the fallback step.
        failed = (report["num_trials"] > 0) & ~report["accepted"]
        long = failed & (report["step_size"] > 1e-6)
        assert not long.any(), where(long, batch, tree)


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_where_nothing_is_downhill_nothing_is_searched_or_moved(name, tree):
    for batch, _, records in ran(name, tree):
        report = records.report
        usable = np.isfinite(records.value) & np.isfinite(report["slope"])
        idle = ~usable | (report["slope"] >= 0)
        bad = idle & (report["accepted"] | (report["step_size"] > 0))
        bad |= idle & (report["num_trials"] > 0)
        if not ROWS[name].goes_on:
            bad |= idle & records.params_finite & records.updates.any(-1)
        assert not bad.any(), where(bad, batch, tree)
        assert idle.any()


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_the_state_keeps_its_structure_shapes_and_dtypes(name, tree):
    start = TREES[tree](jax.numpy.asarray(fault_cases.START))
    begun = jax.eval_shape(fault_cases.make(name).init, start)
    for _, (_, state), _ in ran(name, tree):
        assert jax.tree.structure(state) == jax.tree.structure(begun)
        pairs = zip(jax.tree.leaves(state), jax.tree.leaves(begun), strict=True)
        for now, then in pairs:
            assert now.dtype == then.dtype and now.shape == (BATCH, *then.shape)


def reference(name: str, records: Record) -> np.ndarray:
    """The loss that an accepted trial may not exceed; inf where there is none."""
    value, report = records.value.astype(np.float64), records.report
    if name in MONOTONE:
        return value
    if "ponos" in name:
        return np.maximum(report["mean_value"], value)
    assert name.startswith("salsa")
    before = np.roll(report["mean_decrease"].astype(np.float64), 1, axis=-1)
    before[:, 0] = 0
    return value + 9 * before


SEARCHED_BY_LOSS = [
    _combination(name, _TREE_OF[name])
    for name in SEARCHING
    if name in ROWS and name != "sls_extragradient"
]


@pytest.mark.parametrize(("name", "tree"), SEARCHED_BY_LOSS)
def test_no_uphill_step_is_taken_knowingly(name, tree):
    slack = 10 if name.startswith("salsa") else 1
    for batch, _, records in ran(name, tree):
        report = records.report
        searched = report["accepted"] & (report["num_trials"] > 0)
        allowed = reference(name, records) + 1.01 * slack * rounding(records, tree)
        allowed += np.finfo(np.float32).tiny
        # What momentum adds is not evaluated.
        unknown = np.isnan(report["trial_value"]) & (name == "adam_sls_momentum")
        uphill = searched & ~(report["trial_value"] <= allowed) & ~unknown
        assert not uphill.any(), where(uphill, batch, tree)
        assert searched.sum() > 4 * BATCH


def stays(records: Record, name: str) -> np.ndarray:
    """Whether the next params are those of the accepted trial."""
    report = records.report
    applied = not ROWS[name].goes_on and name != "adam_sls_momentum"
    tested = report["num_trials"] > 0
    if name == "lbfgs":
        # Its search goes towards a pole until the budget is spent, and there the loss
        # of a trial depends on how its params are rounded.
        tested &= report["num_trials"] < 20
    return applied & report["accepted"] & tested


@pytest.mark.parametrize(("name", "tree"), SEARCHED_BY_LOSS)
def test_the_step_taken_is_the_trial_that_was_accepted(name, tree):
    for batch, _, records in ran(name, tree):
        tried = records.report["trial_value"]
        close = np.isclose(records.value_after, tried, rtol=1e-4, atol=1e-4)
        other = stays(records, name) & ~close
        if name == "newton":
            # Its step ends on the pole, where one rounding error changes the loss.
            other[["pole" in case.kinds for case in batch]] = False
        assert not other.any(), where(other, batch, tree)


# With reset="keep" a step never grows. It stays as short as a batch wanted it, and
# goes back to the one before a failed search once: a second failure is believed.
NEVER_GROWS = ("sls_keep", "sls_polyak", "sls_nesterov")


def enough(name: str, records: Record) -> np.ndarray:
    """The step size, for each case, that must be reached again."""
    steps, accepted = records.report["step_size"], records.report["accepted"]
    usual = np.full(BATCH, 0.02 * steps[:, :WARM].max())
    assert usual.min() > 0
    if name not in NEVER_GROWS:
        return usual
    failed = (records.report["num_trials"] > 0) & ~accepted
    begins = np.sum(failed[:, 1:] & ~failed[:, :-1], axis=1)
    assert np.mean(begins <= 1) > 0.5
    wanted = np.where(accepted, steps, np.inf)[:, : WARM + NASTY].min(axis=1)
    return np.where(begins <= 1, np.minimum(usual, wanted), 0)


@pytest.mark.parametrize(("name", "tree"), COMBINATIONS)
def test_the_step_size_is_useful_again_after_the_nasty_phase(name, tree):
    for batch, _, records in ran(name, tree):
        steps = records.report["step_size"][:, WARM + NASTY :]
        stuck = steps.max(axis=1) < enough(name, records)
        if name.startswith("salsa"):
            # A search forgets a tenth: to be at it still, or to be growing, is not to
            # be stuck.
            steepness, now = records.report["mean_steepness"], -records.report["slope"]
            fades = steepness[:, -1] < 0.5 * steepness[:, WARM + NASTY]
            fades &= steepness[:, -1] > now[:, -1]
            grows = steps[:, -1] > 100 * steps.min(axis=1)
            stuck &= ~fades & ~grows
        assert not stuck.any(), where(stuck[:, None], batch, tree)
