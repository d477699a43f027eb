"""Claim 8: the memory of backtracks."""

import numpy as np
import pytest

from examples.talk import backtrack_memory as script


def test_trials_are_compared_by_their_means():
    trials = script.Trials("made up", np.array([1, 1, 1, 3]), np.array([3, 3, 3, 3]))
    assert trials.ratio == pytest.approx(0.5)
    assert trials.at_once == pytest.approx(0.75)


@pytest.mark.long
def test_the_claim_holds():
    claim = script.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("trials with memory / without, largest of 6 problems ≤ 1", True),
        ("trials a step with memory, larger of 2 networks ≤ 1.5", True),
    ]
    assert len(claim.findings) >= 2
