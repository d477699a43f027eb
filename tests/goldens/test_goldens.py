"""Fidelity to the published implementations, to the last digits.

Every configuration of ``../shared/goldens`` is replayed through the public API in
float64: evaluation counts exact, step sizes to 1e-9, iterates to 1e-7. What differs
stands in ``departures.py``; anything else that differs is a bug. The extract runs
everywhere, the full set (long) where the folder is.
"""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.goldens import problems
from tests.goldens.configs import case_for
from tests.goldens.departures import departures_of
from tests.goldens.problems import Problem, Trajectory
from tests.goldens.replay import Case, Replay, mismatches, replay

FULL = problems.full_configs()
EXTRACT = problems.extract_configs()
EXPECTED_FULL = {"matched": 401, "departures": 82, "not covered": 66}
EXPECTED_EXTRACT = {"matched": 47, "departures": 11}


def why_not_covered(config: dict[str, Any]) -> str | None:
    case = case_for(config, steps_per_epoch=8.0)
    return case if isinstance(case, str) else None


def verdict(name: str, config: dict[str, Any]) -> str:
    if why_not_covered(config):
        return "not covered"
    return "departures" if departures_of(name) else "matched"


def check_departures(
    name: str, ours: Replay, golden: Trajectory, problem: Problem
) -> list[str]:
    """What is wrong with a configuration of the table, given that it may differ."""
    steps, found = golden.stable_steps, []
    skip, compared = np.zeros(len(ours.loss), bool), steps
    for entry in departures_of(name):
        marks = entry.marks(golden, ours)
        if steps > 0 and not np.any(marks[:steps]):
            found.append(f"stale, its step never comes: {entry.reason}")
            continue
        if entry.fields_only:
            skip[: len(marks)] |= marks
        else:
            first = int(np.argmax(marks)) + entry.also_there
            compared = min(compared, first)
        if not entry.check(golden, ours, problem, marks):
            found.append(f"not as the table says: {entry.ours}")
    if steps > 0 and not mismatches(ours, golden, problem, steps):
        found.append("stale: everything matches")
    return found + mismatches(ours, golden, problem, compared, skip)


def check(name: str, config: dict[str, Any], problem: Problem, golden: Trajectory):
    case = case_for(config, problem.steps_per_epoch)
    assert not isinstance(case, str), case
    ours = replay(case, problem)
    if departures_of(name):
        found = check_departures(name, ours, golden, problem)
    else:
        found = mismatches(ours, golden, problem, golden.stable_steps)
    assert not found, f"{name}: " + "; ".join(found)


def program(name: str, config: dict[str, Any]) -> str:
    """Configurations of one compiled program say the same."""
    case = case_for(config, steps_per_epoch=8.0)
    assert isinstance(case, Case)
    return f"{name[:2]} {case.build.__name__} {sorted(case.choices.items())}"


def covered(configs: dict[str, dict[str, Any]], quick: int | None = None) -> list[Any]:
    """Those with an optimizer, one after another what shares a program.

    ``quick``: how many optimizers of each family of the references are not slow.
    """
    programs = {
        name: program(name, config)
        for name, config in configs.items()
        if not why_not_covered(config)
    }
    fast: dict[str, set[str]] = {}
    params = []
    for name, group in sorted(programs.items(), key=lambda item: item[1]):
        chosen = fast.setdefault(name.rpartition("/")[0], set())
        if quick is None or len(chosen) < quick:
            chosen.add(group)
        marks = [pytest.mark.xdist_group(f"goldens {group}")]
        if group not in chosen:
            marks.append(pytest.mark.slow)
        params.append(pytest.param(name, marks=marks))
    return params


@pytest.mark.parametrize("name", covered(EXTRACT, quick=1))
def test_extract(name, record_property):
    check(name, EXTRACT[name], *problems.extract_golden(name, EXTRACT[name]))
    record_property("golden_extract", verdict(name, EXTRACT[name]))


@pytest.mark.long
@pytest.mark.parametrize("name", covered(FULL))
def test_full_set(name, record_property):
    check(name, FULL[name], *problems.full_golden(name, FULL[name]))
    record_property("golden", verdict(name, FULL[name]))


def test_count_of_the_extract():
    count = Counter(verdict(name, config) for name, config in EXTRACT.items())
    print(dict(count))
    assert count == EXPECTED_EXTRACT


@pytest.mark.skipif(not FULL, reason="../shared/goldens is not there")
def test_count_of_the_full_set(capsys):
    count = Counter(verdict(name, config) for name, config in FULL.items())
    reasons = Counter(why_not_covered(config) for config in FULL.values())
    with capsys.disabled():
        print(f"\ngoldens: {dict(count)}")
        for reason, number in reasons.items():
            if reason:
                print(f"  not covered, {number}: {reason}")
    assert count == EXPECTED_FULL


def test_extract_is_an_extract():
    assert problems.EXTRACT.stat().st_size < 1e6
    for name in FULL and EXTRACT:
        assert EXTRACT[name] == FULL[name]
        for ours, theirs in zip(
            problems.extract_golden(name, EXTRACT[name])[1][1:],
            problems.full_golden(name, FULL[name])[1][1:],
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
