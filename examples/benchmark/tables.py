"""The numbers of a tournament as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmark import registry, scores
from examples.benchmark.report import OURS, RIVAL


def ratio_text(value: float) -> str:
    """Two digits that matter; a failure is a word."""
    if not np.isfinite(value):
        return "failed"
    if value >= 1000 or 0 < value < 0.001:
        return f"{value:.0e}"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _loss(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "failed"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _points(value: float) -> str:
    """A difference of test metrics, in hundredths."""
    return f"{100 * value:+.1f}" if np.isfinite(value) else "failed"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left, the others to the right."""
    lines = [header, [":--", *("--:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _claims(found: Mapping[str, Any]) -> str:
    rows = [
        [
            claim["claim"],
            f"{claim['value']:.3g}",
            claim["limit"].replace(">=", "≥").replace("<=", "≤"),
            "yes" if claim["met"] else "no",
        ]
        for claim in found["claims"]
    ]
    return table(["aim", "found", "limit", "met"], rows)


_COMPARISON = ["at or below", "geometric mean", "median", "worst"]


def _comparison(row: Mapping[str, Any]) -> list[str]:
    return [
        _percent(row["wins"]),
        ratio_text(row["geometric_mean"]),
        ratio_text(row["median"]),
        f"{ratio_text(row['worst'])} ({row['worst_task']})",
    ]


def _contenders(found: Mapping[str, Any]) -> str:
    """All contenders, the best first."""
    everyone = found["contenders"]["all"]
    order = sorted(everyone, key=lambda n: everyone[n]["to constant"]["geometric_mean"])
    header = ["contender", *_COMPARISON, "mean to all grids", "worst to all grids"]
    header += ["mean test gap", "reaches the grid's best", "at", "time of a step"]
    rows = []
    for name in order:
        row, every = everyone[name], everyone[name].get("to every")
        at = row["median share of the budget for that"]
        curve = not name.endswith("everywhere")
        time = found["time of a step"].get(name)
        rows.append(
            [
                f"**{name}**" if name == OURS else name,
                *_comparison(row["to constant"]),
                ratio_text(every["geometric_mean"]) if every else "-",
                ratio_text(every["worst"]) if every else "-",
                _points(row["score gap"]["mean"]),
                _percent(row["reached the grid's best"]) if curve else "-",
                _percent(at) if np.isfinite(at) else "-",
                f"{time:.2f}" if time else "-",
            ]
        )
    return table(header, rows)


def _groups(found: Mapping[str, Any]) -> str:
    header = ["contender, tasks", "races", *_COMPARISON, "mean test gap"]
    header += ["worst test gap", "worst to the best test of the grid"]
    rows = [
        [
            f"{name}, {group}",
            str(contenders[name]["to constant"]["races"]),
            *_comparison(contenders[name]["to constant"]),
            *(
                _points(contenders[name]["score gap"][key])
                for key in ("mean", "worst", "worst to the best score of the grid")
            ),
        ]
        for name in (OURS, RIVAL)
        for group, contenders in found["contenders"].items()
        if name in contenders
    ]
    return table(header, rows)


def _pairs(found: Mapping[str, Any]) -> str:
    rows = [
        [name, *(_percent(pair[key]) for key in ("ahead", "tied", "behind"))]
        for name, pair in found["pairs"].items()
    ]
    return table([f"{OURS} against", "ahead", "tied", "behind"], rows)


def _share(costs: Sequence[float | None]) -> str:
    """Median over seeds of the budget's share; who never got there took for ever."""
    median = np.median([np.inf if cost is None else cost for cost in costs])
    return _percent(median) if np.isfinite(median) else "-"


def _tasks(found: Mapping[str, Any]) -> str:
    """Medians over seeds, geometric means of ratios; then every seed of ours."""
    rows = []
    for name, task in found["tasks"].items():
        grid, own = task["grids"]["constant"], task["contenders"][OURS]
        rival = task["contenders"].get(RIVAL)
        rows.append(
            [
                f"{name} *" if task["held out"] else name,
                f"{grid['runs'][0]}",
                _loss(np.median(grid["losses"])),
                _loss(np.median(own["losses"])),
                ratio_text(scores.geometric_mean(np.asarray(own["ratios"]))),
                " ".join(ratio_text(ratio) for ratio in own["ratios"]),
                ratio_text(scores.geometric_mean(np.asarray(rival["ratios"])))
                if rival
                else "-",
                f"{np.median(grid['scores']):.3f}",
                f"{np.median(own['scores']):.3f}",
                _points(min(own["score gaps"])),
                _share(own["share of the budget to reach the grid's best"]),
            ]
        )
    header = ["task", "best run of the grid (seed 0)", "grid's loss", f"{OURS}'s loss"]
    header += ["ratio", "by seed", f"ratio of {RIVAL}", "grid's test", f"{OURS}'s test"]
    header += ["worst test gap", "grid's best reached at"]
    return table(header, rows)


def _directions(found: Mapping[str, Any]) -> str:
    rows = [
        [f"auto({name})", _percent(row["task_wins"]), *_comparison(row)]
        for name, row in found["directions"].items()
    ]
    return table(["direction", "tasks at or below", *_COMPARISON], rows)


def _searches(found: Mapping[str, Any]) -> str:
    rows = [
        [
            task,
            *(f"{trials:.2f}" for trials in row["trials of a step"].values()),
            ratio_text(scores.geometric_mean(np.asarray(row["ratios"]))),
            " ".join(ratio_text(ratio) for ratio in row["ratios"]),
        ]
        for task, row in found["searches"].items()
    ]
    trials = [f"trials a step, {name}" for name in registry.SEARCHES]
    return table(["task", *trials, "ratio of the losses", "by seed"], rows)


def _exceptions(found: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['task']}, seed {row['seed']}",
            row["grid"],
            ratio_text(row["ratio"]),
            *(
                "failed" if row[key] is None else _loss(row[key])
                for key in ("loss", "lowest loss on the way", "grid's loss")
            ),
            row["grid's run"],
        ]
        for row in found["exceptions"]
    ]
    header = ["race", "grid", "ratio", f"{OURS}'s loss", "its lowest on the way"]
    return table([*header, "grid's loss", "grid's run"], rows)


_READ = """\
A race is a task with a seed; all optimizers get the same budget, counted in forward
passes (a gradient is three). A ratio is the final loss on the whole training set to
that of the best run of the grid (SGD with momentum 0.9 and Adam, {sizes} step sizes
each, constant), which is taken anew in every race. "All grids" adds the same sizes
with cosine decay to zero at the end of the budget. Losses below {floor:.0e} of the
initial one count as that: two of them are a tie. In geometric means no ratio counts as
more than {cap:.0f}. "Everywhere": the one size of that grid that is best on all tasks
together. Test gap: accuracy or R^2, in hundredths, to the run of the grid with the
lowest training loss. "At": median share of the budget spent when the grid's best final
loss was first reached (checkpoints every twentieth). Time of a step: to that of
{rival}, geometric mean over tasks, on a machine that may have been busy."""

_HELD_OUT = """\
Held out until the rule's parts and numbers were chosen. Its brake was changed after
that, with all tasks in view; `python -m examples.benchmark.transfer` races tasks that
were made later still."""


def markdown(found: Mapping[str, Any], num_sizes: int) -> str:
    """All tables with headings, and how to read them.

    Args:
        found: what `report.numbers` returns.
        num_sizes: step sizes in each grid.
    """
    made = dict(found["made by"])
    read = _READ.format(
        sizes=num_sizes, floor=found["loss floor"], cap=found["ratio cap"], rival=RIVAL
    )
    parts = [
        "# Results of the benchmark",
        f"`{made.pop('command')}`",
        ", ".join(f"{key} {value}" for key, value in made.items()),
        read,
        f"## What `{OURS}` aims at",
        _claims(found),
        "Why some are not met is told in the README of `examples/benchmark`.",
        "## All contenders",
        _contenders(found),
        "## Tasks held out while the rule was chosen, and the others",
        _HELD_OUT,
        _groups(found),
        f"## `{OURS}` against each contender",
        _pairs(found),
        "## Every task (* held out)",
        _tasks(found),
    ]
    if found["directions"]:
        text = (
            "Each direction with `auto` to the best of its own grid of constant steps."
        )
        parts += ["## Other directions", text, _directions(found)]
    if found["searches"]:
        text = (
            "SLS with `adaptive_backtracking` instead of `backtracking`, all else"
            " equal: trials a step, and the final loss to that of the other."
        )
        parts += ["## What adaptive backtracking saves", text, _searches(found)]
    if found["exceptions"]:
        parts += [f"## Races that `{OURS}` lost by more than it aims at"]
        parts += [_exceptions(found)]
    return "\n\n".join(parts) + "\n"
