"""From the losses of races to ratios, wins, costs and pairs.

A race is one task with one seed. A grid stands for the best of its runs, taken anew in
every race, as if someone had tried all its step sizes on each task and each seed. A
ratio is a final training loss over the grid's; below 1 is better than the grid.

What `tournament.run` returns has None for a number that is not finite. Such a loss is
infinite here: the run failed, and is behind every run that did not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from examples.common.budget import GRADIENT_COST

Results = Mapping[str, Mapping[str, Any]]

# Losses below this share of the initial one are the same: float32 sees no more.
LOSS_FLOOR = 1e-6

# In geometric means no run counts as more than so many times worse than another, for a
# failure would decide the mean alone. There is no such limit on how much better a run
# may be: the floor bounds that. The worst ratio is told as it is.
RATIO_CAP = 1e3

CONSTANT = ("sgd", "adam")
EVERY_GRID = (*CONSTANT, "sgd_cosine", "adam_cosine")


class Best(NamedTuple):
    """The best runs of some contenders, one for each seed.

    Attributes:
        losses: final training losses, not below the floor.
        scores: test metrics of these very runs.
        names: whose runs they are, with their step sizes.
        top_scores: best test metrics of any run of these contenders.
    """

    losses: np.ndarray
    scores: np.ndarray
    names: list[str]
    top_scores: np.ndarray


def _numbers(values: Any, missing: float) -> np.ndarray:
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, missing)


def _floor(task: Mapping[str, Any]) -> np.ndarray:
    return LOSS_FLOOR * _numbers(task["initial"], 0.0)


def _scores(record: Mapping[str, Any]) -> np.ndarray:
    """Test metrics like the losses; those that a table did not keep are the worst."""
    if "scores" not in record:
        return np.full(np.shape(record["final"]), -np.inf)
    return _numbers(record["scores"], -np.inf)


def best(task: Mapping[str, Any], contenders: Sequence[str]) -> Best:
    """The run with the lowest training loss among all of `contenders`, per seed."""
    records = [task["records"][name] for name in contenders]
    losses = np.concatenate([_numbers(r["final"], np.inf) for r in records])
    scores = np.concatenate([_scores(record) for record in records])
    names = [
        name if size is None else f"{name} {size:.2g}"
        for name, record in zip(contenders, records, strict=True)
        for size in record.get("step_sizes", [None])
    ]
    # Before the floor: it makes ties, and the test metric is that of the lowest loss.
    chosen = losses.argmin(0)
    seeds = np.arange(losses.shape[1])
    return Best(
        np.maximum(losses[chosen, seeds], _floor(task)),
        scores[chosen, seeds],
        [names[number] for number in chosen],
        scores.max(0),
    )


def ratios(task: Mapping[str, Any], name: str, grid: Sequence[str]) -> np.ndarray:
    """Final training loss to the best of the grid, per seed.

    Two losses below the floor are a tie, and so are two failures. A run that did not
    fail where the whole grid did is as far ahead as a failure can be behind.
    """
    own, other = best(task, (name,)).losses, best(task, grid).losses
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(np.isinf(other), 1 / RATIO_CAP, own / other)
    return np.where(own == other, 1.0, ratio)


def geometric_mean(values: np.ndarray) -> float:
    """Of ratios, none counted as more than `RATIO_CAP`."""
    return float(np.exp(np.mean(np.log(np.minimum(values, RATIO_CAP)))))


def score_gaps(
    task: Mapping[str, Any], name: str, grid: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """How far the test metric is ahead of the grid's, per seed; negative is behind.

    Returns:
        To the grid's run with the lowest training loss, which a user who looks at the
        training loss would take; and to the best test metric of any run of the grid,
        which nobody can know before the test data are seen.
    """
    own, other = best(task, (name,)).scores, best(task, grid)

    def gap(theirs: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            # Two failures differ by NaN: a tie.
            return np.where(own == theirs, 0.0, own - theirs)

    return gap(other.scores), gap(other.top_scores)


def costs_to_best(
    task: Mapping[str, Any], losses: Any, costs: Any, grid: Sequence[str]
) -> list[float | None]:
    """Share of the budget spent when the grid's best final loss was first reached.

    Seen at checkpoints only, so that it is rounded up to the next of them. None where
    it was never reached.

    Args:
        task: with the records of the grid.
        losses: at the checkpoints, a row for each seed.
        costs: forward passes spent by then.
        grid: names of its contenders.
    """
    other = best(task, grid).losses
    losses = np.maximum(_numbers(losses, np.inf), _floor(task)[:, None])
    shares = np.asarray(costs) / (GRADIENT_COST * task["num_steps"])
    return [
        float(spent[reached][0]) if reached.any() else None
        for spent, reached in zip(shares, losses <= other[:, None], strict=True)
    ]


def trials_per_step(task: Mapping[str, Any], name: str) -> np.ndarray:
    """Trials that a contender made in a step on average, per seed."""
    record = task["records"][name]
    return np.asarray(record["trials"], float) / np.asarray(record["steps"], float)


class Comparison(NamedTuple):
    """A contender against a grid, over all races of some tasks.

    Attributes:
        races: how many there were.
        wins: share of the races at or below the grid's best.
        task_wins: share of the tasks whose geometric mean over seeds is.
        geometric_mean: of the ratios, capped.
        median: of the ratios.
        worst: largest ratio.
        worst_task: where that was.
    """

    races: int
    wins: float
    task_wins: float
    geometric_mean: float
    median: float
    worst: float
    worst_task: str


def compare(results: Results, name: str, grid: Sequence[str]) -> Comparison:
    """`name` against the best of `grid`, per race."""
    by_task = {task: ratios(result, name, grid) for task, result in results.items()}
    every = np.concatenate(list(by_task.values()))
    means = np.array([geometric_mean(values) for values in by_task.values()])
    worst = max(by_task, key=lambda task: by_task[task].max())
    return Comparison(
        races=len(every),
        wins=float(np.mean(every <= 1)),
        # Rounding of the logarithms must not turn a tie into a defeat.
        task_wins=float(np.mean(means <= 1 + 1e-9)),
        geometric_mean=geometric_mean(every),
        median=float(np.median(every)),
        worst=float(every.max()),
        worst_task=worst,
    )


def all_ratios(results: Results, name: str, grid: Sequence[str]) -> np.ndarray:
    """The ratios of all races, task after task."""
    return np.concatenate([ratios(task, name, grid) for task in results.values()])


class Pair(NamedTuple):
    """Shares of the races in which one contender was ahead of another."""

    ahead: float
    tied: float
    behind: float


def pair(results: Results, name: str, other: str) -> Pair:
    """Who had the lower training loss, race by race; below the floor it is a tie."""
    values = all_ratios(results, name, (other,))
    return Pair(*(float(np.mean(x)) for x in (values < 1, values == 1, values > 1)))


def single_size(results: Results, grid: str) -> int:
    """Which step size of a grid is best if it must be the same on all tasks."""
    sizes = next(iter(results.values()))["records"][grid]["step_sizes"]
    means = [
        compare(with_single_size(results, grid, number), f"{grid} everywhere", (grid,))
        for number in range(len(sizes))
    ]
    return int(np.argmin([mean.geometric_mean for mean in means]))


def with_single_size(results: Results, grid: str, number: int) -> Results:
    """Adds the contender "`grid` everywhere": that step size of it, on every task."""
    added = {}
    for task, result in results.items():
        record = result["records"][grid]
        one = {key: [record[key][number]] for key in ("step_sizes", "final", "scores")}
        records = {**result["records"], f"{grid} everywhere": {**record, **one}}
        added[task] = {**result, "records": records}
    return added


def by_group(results: Results) -> dict[str, Results]:
    """All tasks, those not looked at while `auto` was chosen, and the others."""
    groups = {
        "all": dict(results),
        "held out": {k: v for k, v in results.items() if v["held_out"]},
        "looked at": {k: v for k, v in results.items() if not v["held_out"]},
    }
    return {group: tasks for group, tasks in groups.items() if tasks}


def time_ratio(results: Results, name: str, other: str) -> float:
    """Geometric mean over tasks of the time of a step to that of another contender."""
    values = [
        task["records"][name]["milliseconds"] / task["records"][other]["milliseconds"]
        for task in results.values()
    ]
    return float(np.exp(np.mean(np.log(values))))
