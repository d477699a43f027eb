"""The numbers of a tournament as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmark import registry, scores
from examples.benchmark.contenders import ADAM_GRID, SGD_GRID, WEIGHT_DECAY
from examples.benchmark.report import (
    AT_END,
    COMPARED,
    HEADLINE,
    IN_TRAINING,
    OURS,
    RIVAL,
    TO_CONSTANT,
    TO_COSINE,
)


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


_COMPARISON = ["within 1 % or ahead", "geometric mean", "worst"]


def _comparison(row: Mapping[str, Any]) -> list[str]:
    return [
        _percent(row["within"]),
        ratio_text(row["geometric_mean"]),
        f"{ratio_text(row['worst'])} ({row['worst_task']})",
    ]


def _headline(found: Mapping[str, Any]) -> str:
    """All that is compared, for ours: all tasks, held out, looked at."""
    rows = [
        [f"{what}; {group}", str(row["races"]), *_comparison(row)]
        for what in COMPARED
        for group, contenders in found["contenders"].items()
        if (row := contenders.get(OURS, {}).get(what))
    ]
    return table([f"{OURS}, tasks", "races", *_COMPARISON], rows)


def _families(found: Mapping[str, Any]) -> str:
    shown = (HEADLINE, AT_END, IN_TRAINING)
    rows = []
    for group, contenders in found["families"].items():
        own = contenders[OURS]
        columns = [
            text for what in shown for text in _comparison(own[what])[:2] if what in own
        ]
        worst = _comparison(own[HEADLINE])[2]
        rows.append([group, str(own[HEADLINE]["races"]), *columns, worst])
    header = ["family, tasks", "races"]
    for what in shown:
        header += [what, "geometric mean"]
    return table([*header, "worst, best checkpoint"], rows)


def _contenders(found: Mapping[str, Any]) -> str:
    """All contenders, the best first."""
    everyone = found["contenders"]["all"]
    order = sorted(everyone, key=lambda n: everyone[n][HEADLINE]["geometric_mean"])
    shown = (AT_END, TO_CONSTANT, TO_COSINE, IN_TRAINING)
    header = ["contender", "races", *_COMPARISON, *shown, "passes"]
    rows = []
    for name in order:
        row, spent = everyone[name], found["spent"].get(name, np.nan)
        rows.append(
            [
                f"**{name}**" if name == OURS else name,
                str(row[HEADLINE]["races"]),
                *_comparison(row[HEADLINE]),
                *(
                    ratio_text(row[what]["geometric_mean"]) if what in row else "-"
                    for what in shown
                ),
                _percent(spent) if np.isfinite(spent) else "-",
            ]
        )
    return table(header, rows)


def _pairs(found: Mapping[str, Any]) -> str:
    rows = [
        [name, *(_percent(pair[key]) for key in ("ahead", "tied", "behind"))]
        for name, pair in found["pairs"].items()
    ]
    return table([f"{OURS} against", "ahead", "tied", "behind"], rows)


def _mean(ratios: Sequence[float]) -> str:
    return ratio_text(scores.geometric_mean(np.asarray(ratios)))


def _tasks(found: Mapping[str, Any]) -> str:
    """Medians over seeds, geometric means of ratios; then every seed of ours."""
    shown = (HEADLINE, AT_END, TO_CONSTANT, TO_COSINE, IN_TRAINING)
    rows = []
    for name, task in found["tasks"].items():
        if OURS not in task["contenders"]:
            continue
        own, rival = task["contenders"][OURS], task["contenders"].get(RIVAL)
        rows.append(
            [
                f"{name} *" if task["held out"] else name,
                task["family"],
                task["grid runs"][0],
                _loss(np.median(task["grid losses"])),
                _loss(np.median(own["losses"])),
                *(_mean(own[what]) if what in own else "-" for what in shown),
                " ".join(ratio_text(ratio) for ratio in own[HEADLINE]),
                _mean(rival[HEADLINE]) if rival else "-",
            ]
        )
    header = ["task", "family", "best run of the grid (seed 0)", "its validation loss"]
    header += [f"{OURS}'s", *shown, "best checkpoint by seed", RIVAL]
    return table(header, rows)


def _variants(found: Mapping[str, Any]) -> list[str]:
    """The best checkpoint of each variant of ours to that of ours itself."""
    names = [name for name in found["contenders"]["all"] if name.startswith(f"{OURS}_")]
    if not names:
        return []
    rows = []
    for task, told in found["tasks"].items():
        raced, row = told["contenders"], [f"{task} *" if told["held out"] else task]
        for name in names:
            if name in raced and OURS in raced:
                pairs = raced[name][HEADLINE], raced[OURS][HEADLINE]
                row.append(_mean(np.divide(*pairs)))
            else:
                row.append("-")
        rows.append(row)
    title = f"## Variants of `{OURS}`, to `{OURS}` (validation, best checkpoint)"
    return [title, table(["task", *names], rows)]


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


_READ = """\
A race is a task with a seed; all optimizers get the same budget, counted in forward
passes (a gradient is three). The grid is SGD with momentum 0.9, Adam, and AdamW with
weight decay {decay}: {sgd} and {adam}. Each is run with a constant step, and with a
cosine after a warm-up of a twentieth of the budget.

Losses are taken at 20 checkpoints, at the params that an optimizer hands to its user:
validation loss on rows that are not trained on, training loss on at most 2,000 rows
(250 of text). In every race the run of the grid with the lowest validation loss at its
best checkpoint is chosen. A ratio is the validation loss to that of this run: at the
best checkpoint of each, or at the end of both. "Constant only" and "cosine only"
choose among these runs. "Training": the training loss at the end to the lowest of the
constant steps. Where a loss may be negative, the ratio is exp(difference of losses).
Losses below {floor:.0e} of the initial one count as that: two of them are a tie. In
geometric means no ratio counts as more than {cap:.0f}.

"Everywhere": the one size of that grid that is best on all tasks together. "Chosen on
other seeds": in each race the run of all grids that is best on the task's other seeds,
as if someone had tuned on this very task and then trained anew. Passes: the share of
the budget that was spent. `text_large` is raced once, by {large} contenders, with
three step sizes of each grid."""


def _sizes(grid: Sequence[float]) -> str:
    return f"{len(grid)} steps from {grid[0]:.2g} to {grid[-1]:.2g}"


def _how_to_read(found: Mapping[str, Any]) -> str:
    return _READ.format(
        decay=WEIGHT_DECAY,
        sgd=_sizes(SGD_GRID),
        adam=f"{_sizes(ADAM_GRID)} for both of the others",
        floor=found["loss floor"],
        cap=found["ratio cap"],
        large=len(registry.LARGE),
    )


def _ours(found: Mapping[str, Any]) -> list[str]:
    """What is told of ours alone; nothing where it did not race."""
    if OURS not in found["contenders"]["all"]:
        return []
    return [
        f"## `{OURS}` on tasks held out while it was chosen, and on the others",
        _headline(found),
        "## Families of tasks",
        _families(found),
        f"## `{OURS}` against each contender (validation, best checkpoint)",
        _pairs(found),
        *_variants(found),
        "## Every task (* held out)",
        _tasks(found),
    ]


def markdown(found: Mapping[str, Any]) -> str:
    """All tables with headings, and how to read them.

    Args:
        found: what `report.numbers` returns.
    """
    made = dict(found["made by"])
    parts = [
        "# Results of the benchmark",
        f"`{made.pop('command')}`",
        ", ".join(f"{key} {value}" for key, value in made.items()),
        _how_to_read(found),
    ]
    if found["claims"]:
        parts += [f"## What `{OURS}` aims at", _claims(found)]
    parts += ["## All contenders", _contenders(found), *_ours(found)]
    if found["directions"]:
        text = (
            "Each direction with `auto` to the best of its own grid of constant steps:"
            " training loss at the end."
        )
        parts += ["## Other directions", text, _directions(found)]
    if found["searches"]:
        text = (
            "SLS with `adaptive_backtracking` instead of `backtracking`, all else"
            " equal: trials a step, and the final training loss to that of the other."
        )
        parts += ["## What adaptive backtracking saves", text, _searches(found)]
    return "\n\n".join(parts) + "\n"
