"""The measured ratios as tables, as plain data for JSON and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from examples.benchmark.cost_timing import Ratio
from examples.common.style import COLOURS


def plain(found: Any) -> Any:
    """The same with dictionaries and numbers only."""
    if isinstance(found, Ratio):
        return found._asdict()
    if isinstance(found, Mapping):
        return {key: plain(value) for key, value in found.items()}
    return found


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows with the same columns, as text; a missing cell stays empty."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *columns]]
    for name, row in rows.items():
        cells = [_cell(row[column]) if column in row else "" for column in columns]
        lines.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join([title, *(line.rstrip() for line in text)])


def _turned(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows as columns."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {
        name: {key: row[name] for key, row in rows.items() if name in row}
        for name in names
    }


def tables(found: Mapping[str, Any]) -> str:
    """All tables, one below the other; models are columns where times are compared."""
    steps = found["steps"]
    parts = [
        _table(
            f"Time of a step to that of {base}: median (quartiles)",
            _turned({model: steps[model][f"to {base}"] for model in steps}),
        )
        for base in ("SGD", "floor", "Adam")
    ]
    milliseconds = {
        name: {"milliseconds": row["milliseconds of SGD"]}
        for name, row in steps.items()
    }
    parts.insert(0, _table("A step of SGD", milliseconds))
    if found["torch"]:
        parts.append(_table("PyTorch: median (quartiles)", _turned(found["torch"])))
    compiled = {model: row["programs"] for model, row in steps.items()}
    parts.append(_table("Programs compiled in a training loop", _turned(compiled)))
    parts.append(
        _table("Eight seeds by vmap, to SGD over eight", _turned(found["seeds"]))
    )
    for model, rows in found["programs"].items():
        parts.append(_table(f"Programs: {model}", rows))
    title = f"Searches that need several trials, on the {found['model of searches']}"
    parts.append(_table(title, found["searches"]))
    return "\n\n".join(parts)


def save_figure(path: Path, steps: Mapping[str, Any]) -> None:
    """Writes the ratios to the floor as a PNG: medians, with quartiles as bars."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(6.4, 3.2), dpi=200, layout=layout)
    axes = figure.subplots()
    names = list(next(iter(steps.values()))["to floor"])
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        ratios = [row["to floor"][name] for row in steps.values()]
        offset = (place - (len(names) - 1) / 2) * width
        axes.errorbar(
            [number + offset for number in range(len(ratios))],
            [ratio.median for ratio in ratios],
            [
                [ratio.median - ratio.lower for ratio in ratios],
                [ratio.upper - ratio.median for ratio in ratios],
            ],
            fmt="o",
            markersize=4,
            color=COLOURS[place % len(COLOURS)],
            label=name,
        )
    axes.axhline(1, color="#888888", linewidth=0.8)
    axes.set_xticks(range(len(steps)), list(steps))
    axes.set_ylabel("time of a step\n(multiple of the floor)")
    axes.set_title("One trial a step; the floor is a gradient and a forward pass")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.legend(frameon=False)
    figure.savefig(path, format="png")
