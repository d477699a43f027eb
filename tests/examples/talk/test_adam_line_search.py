"""Claim 7: a line search along Adam's direction."""

import numpy as np
import pytest

from examples.talk import adam_line_search as script


def test_epochs_to_a_target_count_from_the_start_and_are_inf_where_it_is_missed():
    losses = np.array([[1.0, 0.1, 0.5, 0.01], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_equal(script.epochs_to(losses, 0.1), [1, np.inf])


def test_the_ratio_is_that_of_the_means_over_the_seeds():
    adam = np.array([[[0.2], [0.2]], [[0.1], [0.9]]])
    result = script.Comparison("made up", np.array([[0.1], [0.2]]), adam, np.ones(1))
    assert result.best_adam == 0
    assert result.against_adam == pytest.approx(0.75)


@pytest.mark.long
def test_the_claim_holds():
    claim = script.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("problems of 4 with searched / best Adam ≤ 1, count ≥ 3", True),
        ("median trials a step, largest of 4 problems ≤ 1", True),
    ]
    assert len(claim.findings) >= 3
