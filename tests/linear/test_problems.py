"""Declaring a problem: what is refused, and what becomes of classes and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse

from optaxls import linear

X, Y = np.eye(3), np.array([0.0, 1.0, 1.0])
BAD = np.array([0.0, np.nan, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": X + np.inf}, "features must be finite"),
        ({"targets": BAD}, "targets must be finite"),
        ({"weights": BAD}, "weights must be finite"),
        ({"weights": np.array([1.0, -1.0, 1.0])}, "weights must be >= 0"),
        ({"weights": np.zeros(3)}, "weights must be >= 0, and not all of them 0"),
        ({"weights": np.ones(2)}, r"weights must have shape \(3,\)"),
        ({"targets": np.ones(2)}, r"targets must have shape \(3,\)"),
        ({"targets": np.array([0.0, 1.0, 2.0])}, "targets of logistic must be 0 and 1"),
        ({"targets": np.array([0.0, 1.0, -1.0])}, "must be 0 and 1, or -1 and 1"),
        ({"features": Y}, r"features must have shape \(n, d\)"),
        ({"features": X[:0]}, r"features must have shape \(n, d\)"),
        ({"loss": "log"}, "loss must be one of 'logistic'"),
        ({"l2": -1.0}, "l2 must lie in"),
        ({"l1": np.inf}, "l1 must lie in"),
        ({"intercept": 2}, "intercept must be one of True, False"),
    ],
)
def test_values_out_of_range_are_refused(change, message):
    given = {"features": X, "targets": Y, "loss": "logistic"} | change
    features, targets = given.pop("features"), given.pop("targets")
    with pytest.raises(ValueError, match=message):
        linear.problem(features, targets, **given)


@pytest.mark.parametrize("features", [scipy.sparse.eye(3), sparse.BCOO.fromdense(X)])
def test_sparse_features_are_refused_with_the_reason(features):
    with pytest.raises(TypeError, match="features must be a dense array.*every coord"):
        linear.problem(features, Y, loss="squared")


def test_what_is_no_real_number_is_refused():
    with pytest.raises(TypeError, match="features must be real"):
        linear.problem(X * 1j, Y, loss="squared")


@pytest.mark.parametrize("targets", [Y, Y.astype(bool), 2 * Y - 1])
def test_two_classes_become_minus_1_and_1(targets):
    problem = linear.problem(X, targets, loss="logistic")
    np.testing.assert_array_equal(problem.targets, [-1, 1, 1])


def test_numbers_are_float32_or_wider_and_weights_have_mean_1():
    problem = linear.problem(
        X.astype(np.float16), Y, loss="squared", weights=np.array([1, 2, 6])
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(problem)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(problem.weights, [1 / 3, 2 / 3, 2])
