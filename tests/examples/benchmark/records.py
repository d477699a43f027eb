"""Made-up records of races."""

from collections.abc import Sequence
from typing import Any

from tests.examples.benchmark.tiny_task import STEPS

Rows = Sequence[Sequence[float | None]]


def record(*final: Sequence[float | None], best: Rows = (), end: Rows = ()) -> dict:
    """A record with a row of losses for each step size.

    Args:
        *final: training losses at the end.
        best: validation losses at the best checkpoint, by default the training losses.
        end: those at the end, by default the best ones.
    """
    rows = [list(row) for row in final]
    seeds = len(rows[0])
    lowest = [list(row) for row in best or rows]
    found = {
        "final": rows,
        "best": lowest,
        "end": [list(row) for row in end or lowest],
    }
    if len(rows) > 1:
        return {"step_sizes": [0.1 * (i + 1) for i in range(len(rows))]} | found
    made = {"steps": [STEPS] * seeds, "trials": [0] * seeds}
    return found | {"passes": [3 * STEPS] * seeds} | made


def results_of(
    held_out: bool = False,
    initial: float = 1.0,
    family: str = "tables",
    negative: bool = False,
    **records: dict,
) -> dict[str, Any]:
    """The result of a task."""
    seeds = len(next(iter(records.values()))["final"][0])
    return {
        "family": family,
        "held_out": held_out,
        "negative": negative,
        "large": False,
        "num_steps": STEPS,
        "initial": [initial] * seeds,
        "initial_valid": [initial] * seeds,
        "records": records,
    }


SGD = record([0.4, 0.1], [0.2, None], best=[[0.9, 0.8], [0.7, None]])
ADAM = record(
    [0.3, 0.3], [0.5, 0.2],
    best=[[0.6, 0.6], [0.8, 0.5]], end=[[1.5, 0.7], [0.8, 0.9]],
)  # fmt: skip
