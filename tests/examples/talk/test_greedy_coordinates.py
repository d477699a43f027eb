"""The steepest coordinate against random ones."""

import numpy as np
import pytest

from examples.talk import greedy_coordinates
from examples.talk.greedy_coordinates import DAMPING, page_rank, steps_to
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = greedy_coordinates.measure()
    assert_reproduces(claim, ["≤ 0.6", "≤ 0.35", "≤ 0.1", "≤ 0.2"])


def test_ranks_are_the_minimum_of_the_quadratic_and_those_of_networkx():
    hessian, linear, optimum = page_rank()
    np.testing.assert_allclose(hessian @ optimum, linear, atol=1e-12)
    links = -np.where(np.eye(len(linear)), 0, hessian)
    networkx = pytest.importorskip("networkx")
    graph = networkx.from_numpy_array(links > 0)
    source = {len(linear) // 2: 1.0}
    ranks = networkx.pagerank(graph, DAMPING, source, tol=1e-12, max_iter=1000)
    degrees = (links > 0).sum(1)
    theirs = np.array([ranks[page] for page in range(len(linear))])
    np.testing.assert_allclose(theirs, optimum * np.sqrt(degrees), atol=1e-9)


def test_steps_are_counted_to_the_first_within_the_gap():
    assert steps_to(np.array([1.0, 0.1, 1e-3, 1e-4]), 1e-2) == 2
