"""Sparse logistic regression: the data, the counts and the support."""

import jax
import numpy as np
import pytest

import optaxls
from examples.benchmark import sparse
from examples.benchmark.sparse import GAPS, at_gaps, correlated, count, objective
from optaxls import linear

# Evaluations of liblbfgs to 1e-8, and the weights that are not 0, both by skglm.
KNOWN = {0.1: (91, 269), 0.05: (142, 291)}


@pytest.mark.slow
@pytest.mark.parametrize("penalty", KNOWN)
def test_half_of_liblbfgs_evaluations_and_the_known_support(penalty):
    with jax.enable_x64(True):
        data = correlated(500, 2000, penalty)
        found = count(data, optaxls.owl_qn(data.weight))
    cells = at_gaps(found, float(np.min(found.values)))
    wanted = cells[GAPS.index(1e-8)]
    assert wanted is not None
    evaluations, support = KNOWN[penalty]
    assert wanted[1] <= evaluations / 2
    assert np.sum(found.params != 0) == support


@pytest.mark.parametrize(
    "penalty",
    [
        pytest.param(0.1, marks=pytest.mark.slow),
        pytest.param(0.05, marks=pytest.mark.long),
    ],
)
def test_greedy_coordinates_reach_the_known_support_in_ten_passes(penalty):
    with jax.enable_x64(True):
        data = correlated(500, 2000, penalty)
        problem = linear.problem(
            data.features, data.labels, loss="logistic", l1=data.weight, intercept=False
        )
        fit = linear.greedy_coordinate(problem, tolerance=1e-8)
    assert fit.converged and fit.num_passes <= 10
    assert np.sum(np.asarray(fit.coefficients) != 0) == KNOWN[penalty][1]


@pytest.mark.long
def test_the_published_variant_ends_at_the_same_weights_with_more_evaluations():
    with jax.enable_x64(True):
        data = correlated(60, 100, 0.1)
        runs = {
            name: count(data, optimizer)
            for name, optimizer in sparse.optimizers(data.weight).items()
            if name != "fista"
        }
    ours, theirs = runs.values()
    assert np.array_equal(ours.params != 0, theirs.params != 0)
    np.testing.assert_allclose(ours.params, theirs.params, atol=1e-6)
    best = objective(data, ours.params)
    counts = [at_gaps(found, best)[1] for found in (ours, theirs)]
    assert counts[0] is not None and counts[1] is not None
    assert counts[0][1] < 0.7 * counts[1][1]


def test_neighbouring_features_are_correlated_by_six_tenths():
    data = correlated(4000, 20, 0.1)
    found = np.corrcoef(data.features.T)
    np.testing.assert_allclose(np.diag(found, 1), 0.6, atol=0.06)
    assert set(np.unique(data.labels)) == {-1.0, 1.0}
