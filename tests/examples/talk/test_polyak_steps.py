"""Claim 6: Polyak steps against a grid of fixed steps."""

import numpy as np
import pytest

from examples.talk import polyak_steps, problems_search
from examples.talk.polyak_steps import Comparison


def test_the_ratio_is_that_to_the_lowest_final_loss_of_the_grid():
    losses = np.array([[1.0, 0.5], [1.0, np.inf], [1.0, 0.1]])
    result = Comparison("made up", np.array([1.0, 0.3]), losses[0], losses)
    assert result.best_sgd == 2
    assert result.against_sgd == pytest.approx(3)


def test_networks_get_the_smoothed_form():
    smoothed = polyak_steps.settings_of(problems_search.digits_network())
    assert smoothed == {"c": 0.2, "growth": 2.0, "steps_per_epoch": 28}
    assert polyak_steps.settings_of(problems_search.kernel_cancer()) == {"c": 0.5}


@pytest.mark.long
def test_the_claim_holds():
    claim = polyak_steps.measure()
    fits = "SPS / best of 5 SGD steps, largest of 4 interpolating problems ≤ 2"
    misfits = "SPS / best SGD step where the model cannot fit, smaller of 2 ≥ 1.2"
    assert [(check.statement, check.held) for check in claim.checks] == [
        (fits, True),
        (misfits, True),
    ]
    assert len(claim.findings) >= 3
