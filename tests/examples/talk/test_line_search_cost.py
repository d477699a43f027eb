"""Claim 5: what a line search costs and where it ends."""

import numpy as np
import pytest

from examples.talk import line_search_cost
from examples.talk.line_search_cost import Comparison


def comparison(trials=(1, 1, 4)) -> Comparison:
    return Comparison(
        name="made up",
        trials=np.array(trials),
        sls=np.array([0.1, 0.3]),
        sgd=np.array([[0.4, 0.4], [0.01, np.inf]]),
        adam=np.array([[0.5, 0.3]]),
        restart_trials=np.nan,
    )


def test_a_step_with_two_trials_costs_five_thirds_of_a_gradient():
    assert comparison().cost == pytest.approx(5 / 3)


def test_the_best_step_is_that_of_the_lowest_mean_over_the_seeds():
    assert comparison().best_sgd == 0
    assert comparison().against_sgd == pytest.approx(0.5)
    assert comparison().against_adam == pytest.approx(0.5)


@pytest.mark.long
def test_the_claim_holds():
    claim = line_search_cost.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("median trials a step, largest of 6 problems ≤ 1", True),
        ("cost in steps of SGD, largest of 6 problems ≤ 2", True),
        ("final loss / best of 5 SGD steps, largest of 6 problems ≤ 1.2", True),
    ]
    assert len(claim.findings) >= 3
