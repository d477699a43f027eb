"""What the tables tell of the results of a tournament."""

import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmark import contenders, registry, scores
from examples.benchmark.scores import CONSTANT, EVERY_GRID, LOSS_FLOOR, Results

OURS = "auto"
RIVAL = "prodigy"

# `auto` is to stay below these ratios to the grids with constant steps, and to all.
WORST_TO_CONSTANT = 1.15
WORST_TO_EVERY = 1.3

_LIBRARIES = ("optaxls", "jax", "jaxlib", "optax", "flax", "numpy", "scikit-learn")


def made_by(command: str) -> dict[str, Any]:
    """The command, the machine and the versions that made the results."""
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def _names(results: Results) -> list[str]:
    """Contenders that all tasks have, in the order of the tournament."""
    return list(next(iter(results.values()))["records"])


def _grids(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The grids to compare with, as far as they have been raced."""
    present = set(names)
    grids = {"constant": CONSTANT, "every": EVERY_GRID}
    return {key: grid for key, grid in grids.items() if present.issuperset(grid)}


def with_everywhere(results: Results) -> Results:
    """Adds, for each grid, the one step size that is best on all tasks together."""
    for grid in EVERY_GRID:
        if grid in _names(results):
            number = scores.single_size(results, grid)
            results = scores.with_single_size(results, grid, number)
    return results


def _reached(task: Mapping[str, Any], name: str) -> Sequence[float | None]:
    """When the best final loss of the grid was reached; never, where nobody looked."""
    return task["records"][name].get("reached", [None] * len(task["initial"]))


def _contender(results: Results, name: str) -> dict[str, Any]:
    """A contender over all races of these tasks."""
    grids = _grids(_names(results))
    to_run, to_top = (
        [scores.score_gaps(task, name, CONSTANT)[which] for task in results.values()]
        for which in (0, 1)
    )
    costs = [
        math.inf if cost is None else cost
        for task in results.values()
        for cost in _reached(task, name)
    ]
    return {
        **{
            f"to {key}": scores.compare(results, name, grid)._asdict()
            for key, grid in grids.items()
        },
        "score gap": {
            "mean": float(np.mean(to_run)),
            "worst": float(np.min(to_run)),
            "worst mean of a task": float(np.min(np.mean(to_run, 1))),
            "worst to the best score of the grid": float(np.min(to_top)),
        },
        "reached the grid's best": float(np.mean(np.isfinite(costs))),
        "median share of the budget for that": float(np.median(costs)),
    }


def _on_task(task: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A contender on one task, seed by seed."""
    own = scores.best(task, (name,))
    return {
        "losses": own.losses.tolist(),
        "ratios": scores.ratios(task, name, CONSTANT).tolist(),
        "scores": own.scores.tolist(),
        "score gaps": scores.score_gaps(task, name, CONSTANT)[0].tolist(),
        "share of the budget to reach the grid's best": _reached(task, name),
    }


def _task(task: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    grids = {
        key: scores.best(task, grid) for key, grid in _grids(task["records"]).items()
    }
    return {
        "held out": task["held_out"],
        "grids": {
            key: {
                "losses": grid.losses.tolist(),
                "scores": grid.scores.tolist(),
                "runs": grid.names,
            }
            for key, grid in grids.items()
        },
        "contenders": {name: _on_task(task, name) for name in names},
    }


def _directions(results: Results) -> dict[str, Any]:
    """Each freed direction against the grid of this very direction."""
    return {
        direction.grid.name: scores.compare(
            results, direction.freed.name, (direction.grid.name,)
        )._asdict()
        for direction in contenders.DIRECTIONS
        if direction.freed.name in _names(results)
    }


def _searches(results: Results) -> dict[str, Any]:
    """What adaptive backtracking saves on each task, and what its runs then reach."""
    plain, adaptive = registry.SEARCHES
    return {
        task: {
            "trials of a step": {
                name: float(np.mean(scores.trials_per_step(result, name)))
                for name in (plain, adaptive)
            },
            "ratios": scores.ratios(result, adaptive, (plain,)).tolist(),
        }
        for task, result in results.items()
    }


def _exceptions(results: Results) -> list[dict[str, Any]]:
    """The races that `auto` lost by more than it may, with what may tell the cause."""
    limits = {"constant": WORST_TO_CONSTANT, "every": WORST_TO_EVERY}
    rows = []
    for name, task in results.items():
        record = task["records"][OURS]
        for key, grid in _grids(task["records"]).items():
            other = scores.best(task, grid)
            for seed, ratio in enumerate(scores.ratios(task, OURS, grid)):
                if ratio > limits[key]:
                    rows.append(
                        {
                            "task": name,
                            "seed": seed,
                            "grid": key,
                            "ratio": float(ratio),
                            "loss": record["final"][0][seed],
                            "lowest loss on the way": record["lowest"][seed],
                            "grid's loss": float(other.losses[seed]),
                            "grid's run": other.names[seed],
                        }
                    )
    return rows


def _claim(what: str, value: float, sign: str, limit: float) -> dict[str, Any]:
    met = value >= limit if sign == ">=" else value <= limit
    return {"claim": what, "value": value, "limit": f"{sign} {limit:g}", "met": met}


def _claims(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `auto` is measured by, and whether it is so."""
    own = numbers["contenders"]["all"][OURS]
    constant, every = own["to constant"], own.get("to every")
    claims = [
        _claim("races at or below the best constant step", constant["wins"], ">=", 0.9),
        _claim("geometric mean to it", constant["geometric_mean"], "<=", 0.45),
        _claim("worst ratio to it", constant["worst"], "<=", WORST_TO_CONSTANT),
        _claim(
            "test metric behind that of the grid's best run, worst race",
            -own["score gap"]["worst"], "<=", 0.01,
        ),
    ]  # fmt: skip
    if every is not None:
        mean = every["geometric_mean"]
        what = "the best constant or cosine step"
        claims += [
            _claim(f"geometric mean to {what}", mean, "<=", 0.55),
            _claim(f"worst ratio to {what}", every["worst"], "<=", WORST_TO_EVERY),
        ]
    if RIVAL in numbers["pairs"]:
        ahead = numbers["pairs"][RIVAL]["ahead"]
        claims.append(_claim(f"races ahead of {RIVAL}", ahead, ">=", 0.9))
    for name, found in numbers["directions"].items():
        share = found["task_wins"]
        what = f"auto({name}): tasks at or below its own best constant step"
        claims.append(_claim(what, share, ">=", 0.8))
        claims.append(_claim(f"auto({name}): worst", found["worst"], "<=", 1.5))
    if numbers["searches"]:
        plain, adaptive = registry.SEARCHES
        trials = [row["trials of a step"] for row in numbers["searches"].values()]
        share = float(np.mean([row[adaptive] < row[plain] for row in trials]))
        what = f"{adaptive}: tasks with fewer trials than {plain}"
        claims.append(_claim(what, share, ">=", 1))
    return claims


def numbers(
    results: Results, directions: Results, searches: Results, made: Mapping[str, Any]
) -> Any:
    """All that the tables tell; `directions` and `searches` may be empty.

    Args:
        results: of the contenders and grids.
        directions: of the directions, each with its own grid and freed.
        searches: of the ways to go on from a rejected trial.
        made: what `made_by` said when they were raced.
    """
    everyone = _names(results)
    single = [name for name in everyone if name not in EVERY_GRID]
    found = {
        "made by": made,
        "tasks": {name: _task(task, single) for name, task in results.items()},
        "contenders": {
            group: {name: _contender(tasks, name) for name in single}
            for group, tasks in scores.by_group(results).items()
        },
        "pairs": {
            name: scores.pair(results, OURS, name)._asdict()
            for name in single
            if name != OURS
        },
        "time of a step": {
            name: scores.time_ratio(results, name, RIVAL)
            for name in single
            if RIVAL in single and not name.endswith("everywhere")
        },
        "directions": _directions(directions) if directions else {},
        "searches": _searches(searches),
        "loss floor": LOSS_FLOOR,
        "ratio cap": scores.RATIO_CAP,
    }
    return found | {"claims": _claims(found), "exceptions": _exceptions(results)}
