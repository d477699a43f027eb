"""The look that the figures of the talk share."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from examples.common.style import COLOURS, STYLE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = COLOURS
# Options of every legend: it is drawn after `panels`, where the style does not reach.
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 7}


def marked_rows(
    axes: Axes, names: Sequence[str], marks: Mapping[str, tuple[str, str, Sequence]]
) -> None:
    """A row of marks for each name, the first on top, on a log axis.

    Args:
        axes: to draw on.
        names: of the rows.
        marks: by label: colour, marker, and the finite or infinite numbers of each row.
    """
    rows = np.arange(len(names))[::-1]
    for label, (colour, marker, series) in marks.items():
        for row, numbers in zip(rows, series, strict=True):
            finite = np.asarray(numbers)[np.isfinite(numbers)]
            axes.plot(
                finite, np.full(len(finite), row), marker, color=colour,
                markersize=9 if marker == "|" else 5, markeredgewidth=1.5,
                label=label if row == 0 else None,
            )  # fmt: skip
    axes.set(xscale="log")
    axes.set_yticks(rows, names)


def panels(titles: Sequence[str], height: float = 2.7) -> tuple[Figure, list[Axes]]:
    """A figure with one row of panels, 7.2 inches wide, each with its title."""
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        figure = Figure(figsize=(7.2, height), dpi=200, layout=layout)
        grid = figure.subplots(1, len(titles), squeeze=False)[0]
        for axes, title in zip(grid, titles, strict=True):
            axes.set_title(title, loc="left")
    return figure, list(grid)
