"""The plateau of a small model, and how it vanishes."""

import numpy as np
import pytest

from examples.talk import over_parameterization
from examples.talk.over_parameterization import Width, problem
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.slow
def test_the_inequalities_of_the_recipe_hold():
    limits = ["≥ 1", "≥ 0.1", "≤ 1", "≤ 0.05", "≤ 1"]
    assert_reproduces(over_parameterization.measure(), limits)


def test_the_widths_are_those_of_the_recipe():
    widths = over_parameterization.WIDTHS
    assert (widths[0], widths[-1]) == (20, 800)
    assert over_parameterization.EXAMPLES == 200
    assert over_parameterization.STEPS == 39_000


def test_as_many_features_as_examples_fit_them():
    assert problem(100).least() > 0.1
    assert problem(200).least() < 1e-20


def test_a_smaller_model_has_the_first_features_of_a_larger_one():
    small, large = problem(20), problem(100)
    np.testing.assert_allclose(small.x, large.x[:, :20] * np.sqrt(100 / 20))
    np.testing.assert_array_equal(small.y, large.y)


def test_the_gap_is_a_share_of_the_first_loss():
    assert Width(3, 1.0, np.array([4.0, 2.0])).gap == 0.25
