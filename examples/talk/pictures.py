"""The look that the figures of the talk share."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, YELLOW, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#000000"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def panels(titles: Sequence[str], height: float = 2.7) -> tuple[Figure, list[Axes]]:
    """A figure with one row of panels, 7.2 inches wide, each with its title."""
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        figure = Figure(figsize=(7.2, height), dpi=200, layout=layout)
        grid = figure.subplots(1, len(titles), squeeze=False)[0]
        for axes, title in zip(grid, titles, strict=True):
            axes.set_title(title, loc="left")
    return figure, list(grid)
