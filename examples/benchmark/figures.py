"""Pictures of a tournament: shares of races below a ratio, and every race of a few."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from examples.common.style import COLOURS, STYLE

_BLUE, _ORANGE, _GREEN, _PINK, _YELLOW, _SKY, _BLACK = COLOURS
_LOOKS: dict[str, dict[str, Any]] = {
    "auto": {"color": _BLUE, "linewidth": 2.6},
    "auto_weight_decay": {"color": _SKY, "linewidth": 1.8},
    "prodigy": {"color": _ORANGE, "linestyle": (0, (5, 1.5))},
    "mechanic_adam": {"color": _YELLOW, "linestyle": (0, (1.2, 1.2))},
    "ponos": {"color": _GREEN, "linestyle": (0, (6, 1.5, 1.2, 1.5))},
    "adam_ponos": {"color": _PINK, "linestyle": (0, (5, 1.5))},
    "adam_sps": {"color": _SKY, "linestyle": (0, (6, 1.5, 1.2, 1.5))},
    "grid, chosen on other seeds": {"color": _GREEN, "linewidth": 1.8},
    "adam everywhere": {"color": _BLACK, "linestyle": (0, (1.2, 1.2))},
    "adam_cosine everywhere": {"color": _BLACK, "linestyle": (0, (5, 1.5))},
}
_OTHERS: dict[str, Any] = {"color": "#c8c8c8", "linewidth": 0.8, "zorder": 1}
_LABELS = {
    "auto_weight_decay": "auto, weight decay 0.1",
    "grid, chosen on other seeds": "the grid, chosen on\nthe other seeds",
    "adam everywhere": "Adam, one size\nfor all tasks",
    "adam_cosine everywhere": "the same with\ncosine decay",
}
TRAINING = "final training loss, as a multiple of the best run of the grid"
VALIDATION = "validation loss, as a multiple of the best run of the grid"
_MARKERS = ("o", "D", "s")


def _new(height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    figure = Figure(
        figsize=(7.2 if panels == 1 else 9.6, height), dpi=200, layout=layout
    )
    return figure, list(figure.subplots(1, panels, squeeze=False, sharey=True)[0])


def _ratio_axis(axes: Axes, low: float, high: float, label: str) -> None:
    """A log axis with plain numbers, and a line where the grid's best is."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 10, 30, 100, 1e3]
    if high / low > 100:
        ticks = [10.0**power for power in range(-4, 5)]
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.axvline(1, color="#555555", linewidth=1, zorder=1.5)
    axes.set_xlabel(label)


class Panel(NamedTuple):
    """A performance profile.

    Attributes:
        title: above the curves.
        label: of the axis of ratios.
        limits: of this axis.
        ratios: those of all races, by contender; infinite where a run failed.
    """

    title: str
    label: str
    limits: tuple[float, float]
    ratios: Mapping[str, np.ndarray]


def _profile(axes: Axes, panel: Panel, legend: bool) -> None:
    low, high = panel.limits
    _ratio_axis(axes, low, high, panel.label)
    shown = [name for name in _LOOKS if name in panel.ratios]
    others = [name for name in panel.ratios if name not in _LOOKS]
    for name in [*others, *shown]:
        values = np.sort(panel.ratios[name])
        x = np.concatenate([[low / 10], values[np.isfinite(values)], [high * 10]])
        y = np.arange(len(x)) / len(values)
        y[-1] = y[-2]
        look: dict[str, Any] = {"linewidth": 1.5} | _LOOKS.get(name, _OTHERS)
        # One entry for all the others.
        label = _LABELS.get(name, name) if legend and name in _LOOKS else None
        axes.step(x, y, where="post", label=label, **look)
    if others and legend:
        axes.plot([], [], label=f"{len(others)} others", **_OTHERS)
    axes.set_ylim(0, 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title(panel.title)


def save_profile(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Writes performance profiles side by side: higher and further left is better.

    Args:
        path: of the PNG.
        title: above all of them.
        panels: from left to right; the legend is that of the first.
    """
    with matplotlib.rc_context(STYLE):
        figure, every = _new(3.6, len(panels))
        for axes, panel in zip(every, panels, strict=True):
            _profile(axes, panel, legend=axes is every[0])
        every[0].set_ylabel("share of the races at or below")
        figure.suptitle(title)
        figure.legend(loc="outside right center", handlelength=2.6)
        figure.savefig(path, format="png")


def save_dots(
    path: Path,
    title: str,
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
    limits: tuple[float, float] = (1e-3, 100.0),
) -> None:
    """Writes a row for each task with a dot for each seed.

    Args:
        path: of the PNG.
        title: above the dots.
        rows: ratios by label of the row and by contender; the first is drawn on top.
        label: of the axis of ratios.
        limits: of this axis; what lies beyond is a triangle at its end.
    """
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _new(1.0 + 0.19 * len(rows))
        _ratio_axis(axes, *limits, label)
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        for place, row in enumerate(rows.values()):
            for name, values in row.items():
                number = names.index(name)
                # One above the other, so that none hides another.
                height = place + 0.22 * (number - (len(names) - 1) / 2)
                _dots(axes, np.asarray(values), height, number, _LOOKS[name]["color"])
        for number, name in enumerate(names):
            colour, marker = _LOOKS[name]["color"], _MARKERS[number]
            axes.plot([], [], marker, color=colour, markersize=4, label=name)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(title)
        if len(names) > 1:
            figure.legend(loc="outside lower center", ncols=len(names))
        figure.savefig(path, format="png")


def _dots(
    axes: Axes, values: np.ndarray, height: float, number: int, colour: str
) -> None:
    """Dots of one contender in one row; a triangle at the end for what lies beyond."""
    low, high = axes.get_xlim()
    inside = (values > low) & (values < high)
    look: dict[str, Any] = {"color": colour, "linestyle": "", "alpha": 0.8}
    look |= {"markeredgewidth": 0, "clip_on": False, "zorder": 3 - 0.1 * number}
    for marker, x in (
        (_MARKERS[number], values[inside]),
        ("<", np.full((values <= low).sum(), low)),
        (">", np.full((values >= high).sum(), high)),
    ):
        # An empty line counts as a point in the corner when the margins are measured.
        if len(x):
            axes.plot(x, np.full(len(x), height), marker=marker, markersize=4, **look)
