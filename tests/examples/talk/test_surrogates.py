"""Target-based surrogates: fewer evaluations of the loss by more inner steps."""

import numpy as np
import optax
import pytest

from examples.talk import surrogates
from examples.talk.surrogates import Run
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    falls, third = "strictly falling", "≤ 0.3333"
    assert_reproduces(surrogates.measure(), [falls, third, falls, third])


def test_the_targets_can_be_fitted_and_the_features_are_nearly_dependent():
    x, y = surrogates.problem()
    rest = np.linalg.lstsq(x.astype(float), y.astype(float), rcond=None)[1]
    assert rest[0] < 1e-6 * np.sum(y**2)
    assert np.linalg.cond(x) > 100


def test_needed_is_the_first_evaluation_after_which_the_loss_is_small():
    assert Run(np.array([1, 0.1, 1e-3, 1e-4]), 1.0).needed == 2
    assert Run(np.array([1, 0.1, np.nan]), 1.0).needed == np.inf


def test_more_inner_steps_need_fewer_evaluations(monkeypatch):
    monkeypatch.setattr(surrogates, "CALLS", 10)
    task = surrogates.problem()
    one, five = (surrogates.run(task, optax.sgd(0.05), m, None) for m in (1, 5))
    assert len(one.losses) == 11 and one.losses[0] == 1
    assert five.losses[-1] < one.losses[-1] < 1
    assert five.trials == 0
