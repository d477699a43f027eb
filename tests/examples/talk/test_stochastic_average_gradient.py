"""The stochastic average gradient against gradient descent and its own variants."""

import numpy as np
import pytest

from examples.talk import stochastic_average_gradient as talk
from optaxls import linear
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    assert_reproduces(talk.measure(), ["≤ 0.1", "≤ 0.001", "≤ 10", "≥ 100"])


@pytest.mark.slow
def test_the_objective_is_the_same_for_all_methods(monkeypatch):
    """At the start it is log 2; a long run ends where the penalty has its gradient."""
    x, y = talk.data()
    assert set(np.unique(y)) == {-1.0, 1.0} and np.all(x[:, -1] == 1)
    monkeypatch.setattr(talk, "PASSES", (5,))
    monkeypatch.setattr(talk, "SEEDS", 1)
    problem = linear.problem(x, y > 0, loss="logistic", l2=1e-2, intercept=False)
    found = linear.sag(problem, tolerance=1e-4)
    w = np.asarray(found.coefficients)
    wanted = np.mean(np.logaddexp(0, -y * (x @ w))) + 1e-2 / 2 * np.sum(w**2)
    np.testing.assert_allclose(found.objective, wanted, rtol=1e-5)
    assert wanted <= talk.sag(problem)[0] + 1e-4 < np.log(2)
