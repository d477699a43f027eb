"""The dual of a support vector machine, beside LIBSVM."""

import jax
import numpy as np
import pytest

from examples.talk import support_vectors
from examples.talk.support_vectors import duel, iterations
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    assert_reproduces(support_vectors.measure(), ["≤ 1e-06", "≥ 2"])


@pytest.mark.slow
def test_breast_cancer_has_the_dual_value_of_libsvm_after_no_more_iterations():
    with jax.enable_x64(True):
        found = duel("breast cancer", 1.0)
    assert found.values[-1] == pytest.approx(found.theirs, abs=1e-6)
    assert iterations(found) <= found.iterations == 212
    assert found.gaps[-1] <= 1e-6 and np.all(np.diff(found.values) <= 1e-12)
