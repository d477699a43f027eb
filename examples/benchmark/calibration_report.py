"""Scores of predicted probabilities, their table and the reliability diagram."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from examples.common.style import COLOURS, STYLE

BINS = 10


class Scores(NamedTuple):
    """How good probabilities are, and how honest.

    Attributes:
        loss: mean of minus the log of the probability of what happened.
        error: share of rows whose likeliest class is wrong.
        calibration_error: mean distance of confidence and accuracy over the bins.
        confidence: mean probability of the likeliest class, bin by bin; NaN if empty.
        accuracy: share of right ones, bin by bin.
        share: of the rows in each bin.
    """

    loss: float
    error: float
    calibration_error: float
    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray


class Row(NamedTuple):
    """The setting with the least validation loss; its scores for each seed, and of all.

    Few rows are off by chance in every bin, whatever the method. That adds to the
    calibration error of a seed, and less to that of the rows of all seeds together.
    """

    setting: tuple[float, ...]
    scores: tuple[Scores, ...]
    together: Scores


def scores(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores of probabilities `(..., classes)` for labels `(...)`.

    Bins of confidence are equally wide.
    """
    p = np.asarray(probabilities, np.float64).reshape(-1, probabilities.shape[-1])
    y = np.ravel(labels)
    likely = np.maximum(p[np.arange(len(y)), y], np.finfo(np.float32).tiny)
    confidence, right = p.max(-1), p.argmax(-1) == y
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, confidence, BINS) / count
        accuracy = np.bincount(place, right, BINS) / count
    share = count / len(y)
    gap = np.nansum(share * np.abs(means - accuracy))
    return Scores(
        float(-np.log(likely).mean()), 1 - float(right.mean()), float(gap),
        means, accuracy, share,
    )  # fmt: skip


def _cell(row: Row, name: str) -> str:
    numbers = [getattr(one, name) for one in row.scores]
    return f"{np.mean(numbers):.4f} ({min(numbers):.4f} to {max(numbers):.4f})"


def table(found: Mapping[str, Mapping[str, Row]]) -> str:
    """A page: means over the seeds on the test rows, with the least and the largest."""
    lines = [
        "# Calibration",
        "",
        "Test rows; mean over the seeds, with the least and the largest. The setting is"
        " the one of four with the least validation loss: the learning rate, for AdamW"
        " with the weight decay, for IVON with the first curvature and, on digits,"
        " `b2`. The last column is the calibration error of the test rows of all seeds"
        " together. `python -m examples.benchmark.calibration`",
        "",
        "| task | method | setting | loss | error | calibration error | together |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, rows in found.items():
        for method, row in rows.items():
            setting = ", ".join(f"{number:g}" for number in row.setting)
            cells = [
                _cell(row, name) for name in ("loss", "error", "calibration_error")
            ]
            cells.append(f"{row.together.calibration_error:.4f}")
            lines.append(f"| {task} | {method} | {setting} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _panel(axes: Axes, rows: Mapping[str, Row]) -> None:
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    for (method, row), colour in zip(rows.items(), COLOURS, strict=False):
        x, y, share = row.together.confidence, row.together.accuracy, row.together.share
        # A bin with fewer rows is noise.
        told = share > 0.005
        axes.plot(x[told], y[told], "o-", color=colour, markersize=3, label=method)
    axes.set(xlabel="confidence", xlim=(0, 1), ylim=(0, 1))


def save(found: Mapping[str, Mapping[str, Row]], path: Path) -> None:
    """The reliability diagram: accuracy against confidence, a panel for each task."""
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        figure = Figure(figsize=(7.2, 3.4), dpi=200, layout=layout)
        grid = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for axes, (task, rows) in zip(grid, found.items(), strict=True):
            axes.set_title(f"{task}: below the line is too confident", loc="left")
            _panel(axes, rows)
        grid[0].set_ylabel("accuracy")
        grid[0].legend(loc="upper left", fontsize=7)
        figure.savefig(path)
