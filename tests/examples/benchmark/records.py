"""Made-up records of races."""

from collections.abc import Sequence
from typing import Any

from tests.examples.benchmark.tiny_task import STEPS


def record(*final: Sequence[float | None], scores: Any = None) -> dict:
    """A record with a row of final losses for each step size."""
    rows = [list(row) for row in final]
    seeds = len(rows[0])
    found = {
        "final": rows,
        "scores": scores or [[0.5] * seeds for _ in rows],
        "milliseconds": 0.1,
    }
    if len(rows) > 1:
        return {"step_sizes": [0.1 * (i + 1) for i in range(len(rows))]} | found
    made = {"steps": [STEPS] * seeds, "trials": [0] * seeds}
    return found | made | {"reached": [None] * seeds, "lowest": rows[0]}


def results_of(
    held_out: bool = False, initial: float = 1.0, **records: dict
) -> dict[str, Any]:
    """The result of a task."""
    seeds = len(next(iter(records.values()))["final"][0])
    return {
        "held_out": held_out,
        "num_steps": STEPS,
        "initial": [initial] * seeds,
        "records": records,
    }


SGD = record([0.4, 0.1], [0.2, None], scores=[[0.9, 0.8], [0.7, 0.95]])
ADAM = record([0.3, 0.3], [0.5, 0.2], scores=[[0.6, 0.6], [0.6, 0.9]])
