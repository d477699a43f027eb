"""From losses to ratios, wins, costs and pairs, on made-up records."""

import math
from typing import Any

import numpy as np
import pytest

from examples.benchmark import scores
from examples.benchmark.scores import RATIO_CAP
from tests.examples.benchmark.records import ADAM, SGD, record, results_of
from tests.examples.benchmark.tiny_task import STEPS


@pytest.fixture
def task() -> dict[str, Any]:
    return results_of(sgd=SGD, adam=ADAM, auto=record([0.1, 0.2]))


def test_the_grid_is_its_best_run_in_each_race(task):
    found = scores.best(task, ("sgd", "adam"))
    np.testing.assert_array_equal(found.losses, [0.2, 0.1])
    assert found.names == ["sgd 0.2", "sgd 0.1"]
    # Of the very runs with these losses; others of the grid scored higher.
    np.testing.assert_array_equal(found.scores, [0.7, 0.8])
    np.testing.assert_array_equal(found.top_scores, [0.9, 0.95])
    np.testing.assert_allclose(scores.ratios(task, "auto", ("sgd", "adam")), [0.5, 2])
    np.testing.assert_allclose(scores.ratios(task, "auto", ("adam",)), [1 / 3, 1])
    to_run, to_top = scores.score_gaps(task, "auto", ("sgd", "adam"))
    np.testing.assert_allclose(to_run, [-0.2, -0.3])
    np.testing.assert_allclose(to_top, [-0.4, -0.45])


@pytest.mark.parametrize(
    "own, other, ratio",
    [
        (2e-7, 9e-7, 1.0),  # both below a millionth of the initial loss
        (9e-7, 2e-7, 1.0),
        (3e-6, 2e-7, 3.0),  # a loss above the floor is compared with the floor
        (0.0, 0.5, 2e-6),
        (None, 0.5, math.inf),
        (None, None, 1.0),
        (0.5, None, 1 / RATIO_CAP),
    ],
)
def test_ratio_of_tiny_losses_and_of_failures(own, other, ratio):
    task = results_of(sgd=record([other]), auto=record([own]))
    np.testing.assert_allclose(scores.ratios(task, "auto", ("sgd",)), ratio)


def test_floor_belongs_to_the_initial_loss():
    task = results_of(initial=100.0, sgd=record([5e-5]), auto=record([1e-7]))
    np.testing.assert_array_equal(scores.ratios(task, "auto", ("sgd",)), [1.0])


def test_failures_count_in_a_mean_but_only_so_much():
    assert scores.geometric_mean(np.array([4.0, 0.25])) == pytest.approx(1)
    assert scores.geometric_mean(np.array([math.inf])) == pytest.approx(RATIO_CAP)
    assert scores.geometric_mean(np.array([1e9, 1e-3])) == pytest.approx(1)


def test_comparison_over_tasks():
    grid = record([1.0, 1.0])
    results = {
        "one": results_of(sgd=grid, auto=record([0.25, 2.0])),
        "two": results_of(sgd=grid, auto=record([1.0, 8.0])),
        "three": results_of(sgd=grid, auto=record([1.0, 1.0])),
    }
    found = scores.compare(results, "auto", ("sgd",))
    assert found.races == 6
    assert found.wins == pytest.approx(4 / 6)
    # Geometric means of the tasks: 0.71, 2.83 and exactly 1.
    assert found.task_wins == pytest.approx(2 / 3)
    assert found.geometric_mean == pytest.approx(4 ** (1 / 6))
    assert found.median == 1 and found.worst == 8 and found.worst_task == "two"


def test_pairs_race_by_race():
    results = {
        "one": results_of(auto=record([0.1, 0.1]), ponos=record([0.2, 0.1])),
        "two": results_of(auto=record([0.1, 1e-8]), ponos=record([None, 1e-9])),
    }
    assert scores.pair(results, "auto", "ponos") == (0.5, 0.5, 0)
    assert scores.pair(results, "ponos", "auto") == (0, 0.5, 0.5)


def test_cost_to_reach_the_grids_best():
    task = results_of(sgd=record([0.1, 0.1, 0.1, 1e-9]))
    # Before the first step, half-way, at the end. The grid's last loss lies below the
    # floor, a millionth, so that it counts as reached there.
    losses = [[1.0, 0.1, 0.01], [1.0, 0.2, 0.05], [1.0, 0.5, None], [1.0, 1e-6, 1e-12]]
    costs = [[0.0, 1.5 * STEPS, 3.0 * STEPS]] * 4
    found = scores.costs_to_best(task, losses, costs, ("sgd",))
    assert found == [0.5, 1.0, None, 0.5]


def test_one_size_everywhere_is_the_best_compromise():
    # Each size is best on one task; the second loses little on the other.
    results = {
        "one": results_of(sgd=record([0.1], [0.2])),
        "two": results_of(sgd=record([0.9], [0.1])),
    }
    assert scores.single_size(results, "sgd") == 1
    added = scores.with_single_size(results, "sgd", 1)
    assert scores.all_ratios(added, "sgd everywhere", ("sgd",)) == pytest.approx([2, 1])
    assert "sgd everywhere" not in results["one"]["records"]


def test_groups_of_tasks():
    results = {name: results_of(name == "b", sgd=SGD) for name in "abc"}
    groups = scores.by_group(results)
    assert {group: list(tasks) for group, tasks in groups.items()} == {
        "all": ["a", "b", "c"],
        "held out": ["b"],
        "looked at": ["a", "c"],
    }
    assert "held out" not in scores.by_group({"a": results["a"]})
