"""From the losses of races to ratios, wins and pairs.

A race is one task with one seed. A grid counts as the best of its runs, taken anew in
every race, as if someone had tried all its step sizes on each task and each seed. A
ratio is a loss over the grid's; below 1 is better than the grid. Where a loss may be
negative, it is exp(difference of the losses).

What `tournament.run` returns has None for a number that is not finite. Such a loss is
infinite here: the run failed, and is behind every run that did not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Results = Mapping[str, Mapping[str, Any]]

# Losses below this share of the initial one are the same: float32 sees no more.
LOSS_FLOOR = 1e-6

# In geometric means no run counts as more than so many times worse than another, for a
# failure would decide the mean alone. There is no such limit on how much better a run
# may be: the floor bounds that. The worst ratio is told as it is.
RATIO_CAP = 1e3

# A ratio up to here is no worse than the grid.
WITHIN = 1.01

CONSTANT = ("sgd", "adam", "adamw")
COSINE = ("sgd_cosine", "adam_cosine", "adamw_cosine")
EVERY_GRID = (*CONSTANT, *COSINE)

# A contender made of the grid's runs: tuned on this very task, and then trained anew.
OTHER_SEEDS = "grid, chosen on other seeds"


class Measure(NamedTuple):
    """What is compared, and by what the run of a grid is chosen; keys of a record."""

    key: str
    chosen_by: str
    initial: str


BEST = Measure("best", "best", "initial_valid")
# Of the run whose best checkpoint is the lowest, as someone would choose it.
END = Measure("end", "best", "initial_valid")
TRAINING = Measure("final", "final", "initial")


class Best(NamedTuple):
    """The best runs of some contenders, one for each seed.

    Attributes:
        losses: what is compared, not below the floor.
        names: whose runs they are, with their step sizes.
    """

    losses: np.ndarray
    names: list[str]


def _numbers(values: Any) -> np.ndarray:
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, np.inf)


def best(task: Mapping[str, Any], contenders: Sequence[str], by: Measure) -> Best:
    """The run that is best by a measure among all of `contenders`, per seed."""
    records = [task["records"][name] for name in contenders]
    losses, chosen_by = (
        np.concatenate([_numbers(record[key]) for record in records])
        for key in (by.key, by.chosen_by)
    )
    names = [
        name if size is None else f"{name} {size:.2g}"
        for name, record in zip(contenders, records, strict=True)
        for size in record.get("step_sizes", [None])
    ]
    chosen = chosen_by.argmin(0)
    found = losses[chosen, np.arange(losses.shape[1])]
    if not task.get("negative"):
        initial = np.asarray(task[by.initial], float)
        found = np.maximum(found, LOSS_FLOOR * np.nan_to_num(initial, nan=0.0))
    return Best(found, [names[number] for number in chosen])


def ratios(
    task: Mapping[str, Any], name: str, grid: Sequence[str], by: Measure
) -> np.ndarray:
    """The loss to that of the best of the grid, per seed.

    Two losses below the floor are a tie, and so are two failures. A run that did not
    fail where the whole grid did is as far ahead as a failure can be behind.
    """
    own, other = best(task, (name,), by).losses, best(task, grid, by).losses
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(own - other) if task.get("negative") else own / other
        ratio = np.where(np.isinf(other), 1 / RATIO_CAP, ratio)
    return np.where(own == other, 1.0, ratio)


def geometric_mean(values: np.ndarray) -> float:
    """Of ratios, none counted as more than `RATIO_CAP`."""
    return float(np.exp(np.mean(np.log(np.minimum(values, RATIO_CAP)))))


def trials_per_step(task: Mapping[str, Any], name: str) -> np.ndarray:
    """Trials that a contender made in a step on average, per seed."""
    record = task["records"][name]
    return np.asarray(record["trials"], float) / np.asarray(record["steps"], float)


class Comparison(NamedTuple):
    """A contender against a grid, over all races of some tasks.

    Attributes:
        races: how many there were.
        within: share of the races at most 1 % behind the grid's best.
        wins: share of the races at or below it.
        task_wins: share of the tasks whose geometric mean over seeds is.
        geometric_mean: of the ratios, capped.
        median: of the ratios.
        worst: largest ratio.
        worst_task: where that was.
    """

    races: int
    within: float
    wins: float
    task_wins: float
    geometric_mean: float
    median: float
    worst: float
    worst_task: str


def raced(results: Results, *names: str) -> Results:
    """The tasks that all of these contenders raced on."""
    return {
        task: result
        for task, result in results.items()
        if set(names) <= set(result["records"])
    }


def compare(
    results: Results, name: str, grid: Sequence[str], by: Measure
) -> Comparison:
    """`name` against the best of `grid`, per race of the tasks that it raced on."""
    by_task = {
        task: ratios(result, name, grid, by)
        for task, result in raced(results, name).items()
    }
    every = np.concatenate(list(by_task.values()))
    means = np.array([geometric_mean(values) for values in by_task.values()])
    worst = max(by_task, key=lambda task: by_task[task].max())
    return Comparison(
        races=len(every),
        within=float(np.mean(every <= WITHIN)),
        wins=float(np.mean(every <= 1)),
        # Rounding of the logarithms must not turn a tie into a defeat.
        task_wins=float(np.mean(means <= 1 + 1e-9)),
        geometric_mean=geometric_mean(every),
        median=float(np.median(every)),
        worst=float(every.max()),
        worst_task=worst,
    )


def all_ratios(
    results: Results, name: str, grid: Sequence[str], by: Measure
) -> np.ndarray:
    """The ratios of all races, task after task."""
    tasks = raced(results, name, *grid).values()
    return np.concatenate([ratios(task, name, grid, by) for task in tasks])


class Pair(NamedTuple):
    """Shares of the races in which one contender was ahead of another."""

    ahead: float
    tied: float
    behind: float


def pair(results: Results, name: str, other: str, by: Measure) -> Pair:
    """Who had the lower loss, race by race; below the floor it is a tie."""
    values = all_ratios(results, name, (other,), by)
    return Pair(*(float(np.mean(x)) for x in (values < 1, values == 1, values > 1)))


def single_size(results: Results, grid: str, by: Measure) -> float:
    """Which step size of a grid is best if it must be the same on all tasks."""
    sizes = max((r["records"][grid]["step_sizes"] for r in results.values()), key=len)
    means = [
        compare(
            with_single_size(results, grid, size), f"{grid} everywhere", (grid,), by
        ).geometric_mean
        for size in sizes
    ]
    return sizes[int(np.argmin(means))]


def with_single_size(results: Results, grid: str, size: float) -> Results:
    """Adds the contender "`grid` everywhere": that step size of it, on every task.

    Where the grid lacks it, it is the nearest.
    """
    added = {}
    for task, result in results.items():
        record = result["records"][grid]
        away = np.abs(np.log(record["step_sizes"]) - np.log(size))
        number = int(np.argmin(away))
        one = {
            key: [record[key][number]] for key in ("step_sizes", "final", "best", "end")
        }
        records = {**result["records"], f"{grid} everywhere": {**record, **one}}
        added[task] = {**result, "records": records}
    return added


def with_other_seeds(results: Results) -> Results:
    """Adds, to tasks with several seeds, what the grid's choice is worth on a new seed.

    In every race it is the run whose best checkpoints on the *other* seeds have the
    least geometric mean: the noise of the seeds alone keeps it from a ratio of 1.
    """
    added = {}
    for name, task in results.items():
        records = [task["records"][g] for g in EVERY_GRID if g in task["records"]]
        runs = {
            key: np.concatenate([_numbers(record[key]) for record in records])
            for key in ("final", "best", "end")
        }
        seeds = np.arange(runs["best"].shape[1])
        if len(seeds) > 1:
            floor = LOSS_FLOOR * np.asarray(task["initial_valid"], float)
            level = runs["best"]
            if not task.get("negative"):
                level = np.log(np.maximum(level, floor))
            others = np.stack([np.delete(level, seed, 1).sum(1) for seed in seeds], 1)
            chosen = others.argmin(0)
            one = {
                key: [values[chosen, seeds].tolist()] for key, values in runs.items()
            }
            task = {**task, "records": {**task["records"], OTHER_SEEDS: one}}
        added[name] = task
    return added


def by_group(results: Results) -> dict[str, Results]:
    """All tasks, those not looked at while `auto` was chosen, and the others."""
    groups = {
        "all": dict(results),
        "held out": {k: v for k, v in results.items() if v["held_out"]},
        "looked at": {k: v for k, v in results.items() if not v["held_out"]},
    }
    return {group: tasks for group, tasks in groups.items() if tasks}


def by_family(results: Results) -> dict[str, Results]:
    """Tasks that are about the same, in the order in which families come."""
    families = dict.fromkeys(result["family"] for result in results.values())
    return {
        family: {k: v for k, v in results.items() if v["family"] == family}
        for family in families
    }
