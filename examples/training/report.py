"""The numbers of a run: a table to read and a JSON file to keep."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from examples.common.budget import GRADIENT_COST
from examples.training.history import Result


def table(results: Sequence[Result], scores: Sequence[str]) -> str:
    """A text table with a row for each optimizer, and what its columns mean."""
    header = ["optimizer", "train loss", *scores]
    header += ["median trials", "mean trials", "forward passes", "seconds"]
    rows = [header, *(_row(summary(result, scores), scores) for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [
        "",
        "train loss: over the full training set, at the end. It and the scores are",
        "those of optaxls.eval_params: an average, for auto. Trials: step sizes that a",
        f"step's line search tried. Forward passes: a gradient counts {GRADIENT_COST};"
        " a trial counts 1,",
        f"or {GRADIENT_COST} where it needs a gradient (sls_extragradient). Seconds:"
        " training with",
        "compilation, without evaluation.",
    ]
    return "\n".join(lines)


def summary(result: Result, scores: Sequence[str]) -> dict[str, Any]:
    """The table's numbers by name; None where an optimizer does not search."""
    history = result.history
    trials = history.num_trials if history.searched() else None
    final = history.scores[-1]
    return {
        "optimizer": result.optimizer,
        "train_loss": result.train_loss,
        "scores": dict(zip(scores, final.tolist(), strict=True)),
        "median_trials": None if trials is None else float(np.median(trials)),
        "mean_trials": None if trials is None else float(np.mean(trials)),
        "forward_passes": int(history.forward_passes()[-1]),
        "seconds": float(history.seconds),
    }


def as_json(
    settings: dict[str, Any], results: Sequence[Result], scores: Sequence[str]
) -> str:
    """Settings, the table's numbers and the course of training by epoch."""
    optimizers = [
        summary(result, scores) | {"epochs": _course(result, scores)}
        for result in results
    ]
    numbers = {"settings": settings, "optimizers": optimizers}
    return json.dumps(_without_nan(numbers), indent=2, allow_nan=False)


def _course(result: Result, scores: Sequence[str]) -> dict[str, list[Any]]:
    """One number for each epoch: medians over its steps, scores after it."""
    history = result.history
    passes = history.per_epoch(history.forward_passes())[:, -1]
    course = {"forward_passes": passes.tolist()}
    for name in ("loss", "step_size", "num_trials"):
        medians = np.median(history.per_epoch(getattr(history, name)), axis=1)
        course[f"median_{name}"] = medians.tolist()
    for name, values in zip(scores, history.scores.T, strict=True):
        course[name] = values.tolist()
    return course


def _row(numbers: dict[str, Any], scores: Sequence[str]) -> list[str]:
    return [
        numbers["optimizer"],
        _text(numbers["train_loss"], ".3g"),
        *(_text(numbers["scores"][name], ".2f") for name in scores),
        _text(numbers["median_trials"], "g"),
        _text(numbers["mean_trials"], ".2f"),
        f"{numbers['forward_passes']:,}",
        f"{numbers['seconds']:.1f}",
    ]


def _text(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def _without_nan(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
