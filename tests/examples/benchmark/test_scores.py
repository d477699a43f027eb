"""From losses to ratios, wins and pairs, on made-up records."""

import math
from typing import Any

import numpy as np
import pytest

from examples.benchmark import scores
from examples.benchmark.scores import BEST, END, RATIO_CAP, TRAINING
from tests.examples.benchmark.records import ADAM, SGD, record, results_of

GRID = ("sgd", "adam")


@pytest.fixture
def task() -> dict[str, Any]:
    own = record([0.1, 0.2], best=[[0.3, 0.55]], end=[[3.0, 0.45]])
    return results_of(sgd=SGD, adam=ADAM, auto=own)


def test_the_grid_is_its_best_run_in_each_race(task):
    found = scores.best(task, GRID, TRAINING)
    np.testing.assert_array_equal(found.losses, [0.2, 0.1])
    assert found.names == ["sgd 0.2", "sgd 0.1"]
    ratios = scores.ratios(task, "auto", GRID, TRAINING)
    np.testing.assert_allclose(ratios, [0.5, 2])
    ratios = scores.ratios(task, "auto", ("adam",), TRAINING)
    np.testing.assert_allclose(ratios, [1 / 3, 1])


def test_validation_chooses_another_run_of_the_grid(task):
    found = scores.best(task, GRID, BEST)
    np.testing.assert_array_equal(found.losses, [0.6, 0.5])
    assert found.names == ["adam 0.1", "adam 0.2"]
    np.testing.assert_allclose(scores.ratios(task, "auto", GRID, BEST), [0.5, 1.1])
    # The ends are those of the very runs with the best checkpoints, though the other
    # run of the grid ends lower in both races.
    np.testing.assert_array_equal(scores.best(task, GRID, END).losses, [1.5, 0.9])
    np.testing.assert_allclose(scores.ratios(task, "auto", GRID, END), [2, 0.5])


def test_losses_that_may_be_negative_are_compared_by_their_difference():
    grid = record([0.0, 0.0, 0.0, 0.0], best=[[-2.0, 1.0, None, -1.0]])
    own = record([0.0, 0.0, 0.0, 0.0], best=[[-2.5, 1.0, -3.0, None]])
    task = results_of(negative=True, sgd=grid, auto=own)
    found = scores.ratios(task, "auto", ("sgd",), BEST)
    np.testing.assert_allclose(found, [math.exp(-0.5), 1, 1 / RATIO_CAP, math.inf])


@pytest.mark.parametrize("by", [TRAINING, BEST, END])
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
def test_ratio_of_tiny_losses_and_of_failures(own, other, ratio, by):
    task = results_of(sgd=record([other]), auto=record([own]))
    np.testing.assert_allclose(scores.ratios(task, "auto", ("sgd",), by), ratio)


def test_floor_belongs_to_the_initial_loss():
    task = results_of(initial=100.0, sgd=record([5e-5]), auto=record([1e-7]))
    found = scores.ratios(task, "auto", ("sgd",), TRAINING)
    np.testing.assert_array_equal(found, [1.0])


def test_failures_count_in_a_mean_but_only_so_much():
    assert scores.geometric_mean(np.array([4.0, 0.25])) == pytest.approx(1)
    assert scores.geometric_mean(np.array([math.inf])) == pytest.approx(RATIO_CAP)
    assert scores.geometric_mean(np.array([1e9, 1e-3])) == pytest.approx(1)


def test_comparison_over_tasks():
    grid = record([1.0, 1.0])
    results = {
        "one": results_of(sgd=grid, auto=record([0.25, 2.0])),
        "two": results_of(sgd=grid, auto=record([1.009, 8.0])),
        "three": results_of(sgd=grid, auto=record([1.0, 1.0])),
        "not raced": results_of(sgd=grid),
    }
    found = scores.compare(results, "auto", ("sgd",), BEST)
    assert found.races == 6
    assert found.wins == pytest.approx(3 / 6)
    assert found.within == pytest.approx(4 / 6)
    # Geometric means of the tasks: 0.71, 2.84 and exactly 1.
    assert found.task_wins == pytest.approx(2 / 3)
    assert found.geometric_mean == pytest.approx((4 * 1.009) ** (1 / 6))
    assert found.median == pytest.approx(1.0045)
    assert found.worst == 8 and found.worst_task == "two"


def test_pairs_race_by_race():
    results = {
        "one": results_of(auto=record([0.1, 0.1]), ponos=record([0.2, 0.1])),
        "two": results_of(auto=record([0.1, 1e-8]), ponos=record([None, 1e-9])),
    }
    assert scores.pair(results, "auto", "ponos", BEST) == (0.5, 0.5, 0)
    assert scores.pair(results, "ponos", "auto", BEST) == (0, 0.5, 0.5)


def test_one_size_everywhere_is_the_best_compromise():
    # Each size is best on one task; the second loses little on the other. The third
    # task was raced with fewer sizes.
    few = {key: [[0.1]] for key in ("final", "best", "end")} | {"step_sizes": [0.19]}
    results = {
        "one": results_of(sgd=record([0.1], [0.2])),
        "two": results_of(sgd=record([0.9], [0.1])),
        "few": results_of(sgd=few),
    }
    assert scores.single_size(results, "sgd", BEST) == pytest.approx(0.2)
    added = scores.with_single_size(results, "sgd", 0.2)
    found = scores.all_ratios(added, "sgd everywhere", ("sgd",), BEST)
    assert found == pytest.approx([2, 1, 1])
    assert "sgd everywhere" not in results["one"]["records"]


def test_a_choice_on_the_other_seeds_is_not_always_the_best_on_the_next():
    # Each of the first two is the best run of one seed, and the third never fails.
    sgd = record([0.1, 9.0, 0.2], [0.5, 0.4, None], [0.6, 0.5, 0.3])
    results = {"one": results_of(sgd=sgd), "single": results_of(sgd=record([0.1]))}
    added = scores.with_other_seeds(results)
    found = scores.all_ratios(added, scores.OTHER_SEEDS, ("sgd",), BEST)
    # Seeds 2 and 3 choose the third run, 1 and 3 the first, 1 and 2 the second.
    assert found == pytest.approx([6, 9 / 0.4, math.inf])
    assert scores.OTHER_SEEDS not in added["single"]["records"]


def test_groups_and_families_of_tasks():
    families = {"a": "text", "b": "images", "c": "text"}
    results = {
        name: results_of(name == "b", family=family, sgd=SGD)
        for name, family in families.items()
    }
    groups = scores.by_group(results)
    assert {group: list(tasks) for group, tasks in groups.items()} == {
        "all": ["a", "b", "c"],
        "held out": ["b"],
        "looked at": ["a", "c"],
    }
    assert "held out" not in scores.by_group({"a": results["a"]})
    found = {name: list(tasks) for name, tasks in scores.by_family(results).items()}
    assert found == {"text": ["a", "c"], "images": ["b"]}
