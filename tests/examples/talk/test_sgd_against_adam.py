import numpy as np
import pytest

from examples.talk import sgd_against_adam as script
from tests.examples.talk.checks import assert_holds

LIMITS = {
    "digits: loss of SGD / Adam ≤ 1.2",
    "text: excess of SGD / Adam ≥ 1.5",
}


@pytest.mark.long
def test_every_inequality_holds():
    claim = script.measure()
    assert_holds(claim, LIMITS)


def test_the_best_step_of_a_grid_counts_and_a_run_that_diverged_does_not():
    rates = np.array([0.1, 1.0])
    sgd = script.Grid(rates, np.array([3.0, np.inf]))
    adam = script.Grid(rates, np.array([2.0, 1.0]))
    assert script.ratio({script.SGD: sgd, script.ADAM: adam}) == 3
