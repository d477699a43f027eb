"""What the tables tell of the results of a tournament."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmark import contenders, registry, scores
from examples.benchmark.scores import (
    BEST,
    CONSTANT,
    COSINE,
    END,
    EVERY_GRID,
    LOSS_FLOOR,
    TRAINING,
    Measure,
    Results,
)
from examples.common.budget import GRADIENT_COST

OURS = "auto"
RIVAL = "prodigy"

# What is compared with which grid, the headline first.
COMPARED: dict[str, tuple[Measure, tuple[str, ...]]] = {
    "validation, best checkpoint": (BEST, EVERY_GRID),
    "validation, end": (END, EVERY_GRID),
    "best checkpoint, constant only": (BEST, CONSTANT),
    "end, constant only": (END, CONSTANT),
    "best checkpoint, cosine only": (BEST, COSINE),
    "end, cosine only": (END, COSINE),
    "training, constant only": (TRAINING, CONSTANT),
}
HEADLINE, AT_END, TO_CONSTANT, _, TO_COSINE, _, IN_TRAINING = COMPARED

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
    """Contenders that any of the tasks has, in the order of the tournament."""
    return list(dict.fromkeys(n for task in results.values() for n in task["records"]))


def compared(results: Results) -> dict[str, tuple[Measure, tuple[str, ...]]]:
    """What can be compared: with the grids that all tasks have."""
    common = set.intersection(*(set(task["records"]) for task in results.values()))
    found = {
        what: (by, tuple(name for name in grid if name in common))
        for what, (by, grid) in COMPARED.items()
    }
    return {what: (by, grid) for what, (by, grid) in found.items() if grid}


def with_made_up(results: Results) -> Results:
    """Adds what grids amount to: one size for all tasks; runs chosen on other seeds.

    The step size is, for each grid, the one that is best on all tasks together.
    """
    for grid in EVERY_GRID:
        if len(scores.raced(results, grid)) == len(results):
            size = scores.single_size(results, grid, BEST)
            results = scores.with_single_size(results, grid, size)
    return scores.with_other_seeds(results)


def _contender(results: Results, name: str) -> dict[str, Any]:
    """A contender over all races of these tasks."""
    return {
        what: scores.compare(results, name, grid, by)._asdict()
        for what, (by, grid) in compared(results).items()
    }


def _spent(results: Results, name: str) -> float:
    """The share of the budget that was spent, on average."""
    shares = [
        np.mean(task["records"][name].get("passes", np.nan))
        / (GRADIENT_COST * task["num_steps"])
        for task in scores.raced(results, name).values()
    ]
    return float(np.mean(shares))


def _task(task: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """One task, seed by seed."""
    possible = compared({"": task})
    by, grid = possible[HEADLINE]
    chosen = scores.best(task, grid, by)
    return {
        "held out": task["held_out"],
        "family": task["family"],
        "grid losses": chosen.losses.tolist(),
        "grid runs": chosen.names,
        "contenders": {
            name: {
                "losses": scores.best(task, (name,), BEST).losses.tolist(),
                **{
                    what: scores.ratios(task, name, grid, by).tolist()
                    for what, (by, grid) in possible.items()
                },
            }
            for name in names
            if name in task["records"]
        },
    }


def _directions(results: Results) -> dict[str, Any]:
    """Each freed direction against the grid of this very direction, in training."""
    return {
        direction.grid.name: scores.compare(
            results, direction.freed.name, (direction.grid.name,), TRAINING
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
            "ratios": scores.ratios(result, adaptive, (plain,), TRAINING).tolist(),
        }
        for task, result in results.items()
    }


def _claim(what: str, value: float, sign: str, limit: float) -> dict[str, Any]:
    met = value >= limit if sign == ">=" else value <= limit
    return {"claim": what, "value": value, "limit": f"{sign} {limit:g}", "met": met}


def _own_claims(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `auto` is measured by where nothing was chosen, else on all tasks."""
    groups = found["contenders"]
    group = "held out" if OURS in groups.get("held out", {}) else "all"
    if OURS not in groups[group]:
        return []
    own, claims = groups[group][OURS], []
    for what, key, sign, limit in (
        (HEADLINE, "within", ">=", 0.9),
        (HEADLINE, "geometric_mean", "<=", 0.98),
        (IN_TRAINING, "geometric_mean", "<=", 0.25),
    ):
        if what in own:
            told = "races within 1 % or ahead" if key == "within" else "geometric mean"
            claims.append(
                _claim(f"{what}: {told}, {group}", own[what][key], sign, limit)
            )
    for what, limit in ((TO_CONSTANT, 1.0), (TO_COSINE, 1.02)):
        means = [
            scores.geometric_mean(np.asarray(task["contenders"][OURS][what]))
            for task in found["tasks"].values()
            if task["family"] in ("text", "diffusion")
            and what in task["contenders"].get(OURS, {})
        ]
        if means:
            told = f"{what}: worst task of text and diffusion"
            claims.append(_claim(told, max(means), "<=", limit))
    return claims


def _claims(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `auto` and the searches are measured by, and whether it is so."""
    claims = _own_claims(found)
    for name, direction in found["directions"].items():
        share = direction["task_wins"]
        what = f"auto({name}): tasks at or below its own best constant step"
        claims.append(_claim(what, share, ">=", 0.8))
        claims.append(_claim(f"auto({name}): worst", direction["worst"], "<=", 1.5))
    if found["searches"]:
        plain, adaptive = registry.SEARCHES
        trials = [row["trials of a step"] for row in found["searches"].values()]
        share = float(np.mean([row[adaptive] < row[plain] for row in trials]))
        what = f"{adaptive}: tasks with fewer trials than {plain}"
        claims.append(_claim(what, share, ">=", 1))
    return claims


def _grouped(
    groups: Mapping[str, Results], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    return {
        group: {
            name: _contender(tasks, name) for name in names if scores.raced(tasks, name)
        }
        for group, tasks in groups.items()
    }


def numbers(
    results: Results, directions: Results, searches: Results, made: Mapping[str, Any]
) -> Any:
    """All that the tables tell; `directions` and `searches` may be empty.

    Args:
        results: of the contenders and grids.
        directions: of the directions, each with its own grid and freed.
        searches: of the searches that go on differently from a rejected trial.
        made: what `made_by` said when they were raced.
    """
    single = [name for name in _names(results) if name not in EVERY_GRID]
    families = {
        f"{family}, {group}": tasks
        for family, whole in scores.by_family(results).items()
        for group, tasks in scores.by_group(whole).items()
    }
    real = [
        name
        for name in single
        if not name.endswith("everywhere") and name != scores.OTHER_SEEDS
    ]
    found = {
        "made by": made,
        "tasks": {name: _task(task, single) for name, task in results.items()},
        "contenders": _grouped(scores.by_group(results), single),
        "families": _grouped(families, [name for name in real if name == OURS]),
        "pairs": {
            name: scores.pair(results, OURS, name, BEST)._asdict()
            for name in single
            if name != OURS and scores.raced(results, OURS, name)
        },
        "spent": {name: _spent(results, name) for name in real},
        "directions": _directions(directions) if directions else {},
        "searches": _searches(searches),
        "loss floor": LOSS_FLOOR,
        "ratio cap": scores.RATIO_CAP,
    }
    return found | {"claims": _claims(found)}
