"""One picture of a run: what was gained, at what cost, with which steps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator

from examples.common.budget import GRADIENT_COST
from examples.common.style import COLOURS, STYLE
from examples.training.history import History, Result

# Dashes help where print is grey.
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_STYLE: dict[Any, Any] = STYLE | {"axes.titlesize": 8, "grid.color": "#e4e4e4"}
_FORWARD_PASSES = f"forward passes of a batch (a gradient counts {GRADIENT_COST})"

# Longer searches share the last bar of the histogram.
_MOST_TRIALS = 10


def save_figure(path: Path, title: str, results: Sequence[Result], score: str) -> None:
    """Writes the four panels as a PNG.

    Args:
        path: of the PNG.
        title: above all panels.
        results: one for each optimizer; its place decides its colour.
        score: name and unit of the first score.
    """
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        figure = Figure(figsize=(7.2, 5.4), dpi=200, layout=layout)
        axes = figure.subplots(2, 2)
        _loss_panel(axes[0, 0], results)
        _score_panel(axes[0, 1], results, score)
        _step_size_panel(axes[1, 0], results)
        _trials_panel(axes[1, 1], results)
        figure.suptitle(title, fontsize=9)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), 7)
        )
        figure.savefig(path, format="png")


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of the optimizer in this place."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def _line(history: History) -> dict[str, Any]:
    """Width, and dots where there are few: one epoch alone makes no line."""
    few = len(history.scores) <= 10
    return {"linewidth": 1.6, "marker": "o" if few else None, "markersize": 2.5}


def _loss_panel(axes: Axes, results: Sequence[Result]) -> None:
    _steps_and_medians(axes, results, lambda history: history.loss)
    axes.set_ylabel("training loss (nats)")
    axes.set_title("(a) loss on each batch: steps, and median of an epoch")


def _step_size_panel(axes: Axes, results: Sequence[Result]) -> None:
    _steps_and_medians(axes, results, lambda history: history.step_size)
    axes.set_ylabel("step size (multiple of the direction)")
    axes.set_title("(c) step size: steps, and median of an epoch")


def _steps_and_medians(axes: Axes, results: Sequence[Result], series: Callable) -> None:
    """A faint line through the steps and a bold one through the epochs' medians."""
    for number, result in enumerate(results):
        history = result.history
        # A log axis has no place for 0, which would pull the line to the bottom.
        values = np.where(series(history) > 0, series(history), np.nan)
        passes = history.forward_passes()
        look = _look(number)
        axes.plot(passes, values, color=look["color"], linewidth=0.5, alpha=0.25)
        centres = np.median(history.per_epoch(passes), axis=1)
        rows = history.per_epoch(values)
        medians = [
            np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan
            for row in rows
        ]
        axes.plot(centres, medians, label=result.optimizer, **_line(history), **look)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1, 1)))
    _passes_axis(axes)


class _PlainNumbers(LogFormatter):
    """Labels 4 and 5, not 4x10^0 and 5x10^0, where an axis spans less than a decade."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _score_panel(axes: Axes, results: Sequence[Result], score: str) -> None:
    for number, result in enumerate(results):
        history = result.history
        passes = history.per_epoch(history.forward_passes())[:, -1]
        axes.plot(passes, history.scores[:, 0], **_line(history), **_look(number))
    axes.set_ylabel(score)
    axes.set_title(f"(b) {score.split(' (')[0]} after each epoch")
    _passes_axis(axes)


def _trials_panel(axes: Axes, results: Sequence[Result]) -> None:
    """Share of the steps that took 0, 1, 2, ... trials, for those that search."""
    searching = [
        (number, result.history.num_trials)
        for number, result in enumerate(results)
        if result.history.searched()
    ]
    longest = max((int(trials.max()) for _, trials in searching), default=1)
    counts = np.arange(min(longest, _MOST_TRIALS) + 1)
    width = 0.8 / max(len(searching), 1)
    for place, (number, trials) in enumerate(searching):
        clipped = np.minimum(trials, _MOST_TRIALS)
        shares = 100 * np.bincount(clipped, minlength=len(counts)) / len(trials)
        offset = (place - (len(searching) - 1) / 2) * width
        axes.bar(counts + offset, shares, width, color=_look(number)["color"])
    axes.set_xlabel("trials in a step (step sizes tried)")
    axes.set_ylabel("share of the steps (%)")
    axes.set_title("(d) trials of the line search")
    axes.grid(axis="x", visible=False)
    labels = [str(count) for count in counts]
    if longest > _MOST_TRIALS:
        labels[-1] = f"≥{_MOST_TRIALS}"
    axes.set_xticks(counts, labels)


def _passes_axis(axes: Axes) -> None:
    axes.set_xlabel(_FORWARD_PASSES)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
