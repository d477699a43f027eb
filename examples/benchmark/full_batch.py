"""Evaluations and seconds of L-BFGS until the gradient is below 1e-6, in turns.

    python -m examples.benchmark.full_batch
    python -m examples.benchmark.full_batch --rounds 30 --out runs/full_batch
    python -m examples.benchmark.full_batch --quick

Evaluations of the loss with its gradient are counted on the host, in float64, on small
problems. Then whole solves of a logistic regression are timed after compilation, in a
new order every round. Close other programs: they slow the threads of NumPy most.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from examples.benchmark import full_batch_solvers
from examples.benchmark.full_batch_problems import Problem, problems, wide_logistic
from examples.benchmark.full_batch_solvers import Ready
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare L-BFGS on full batches; everything has a default."""

    rounds: int = 10
    """Timed solves of each solver."""
    rows: int = 10_000
    """Rows of the logistic regression that is timed."""
    columns: int = 1_000
    """Its columns."""
    quick: bool = False
    """Two problems, a tiny regression, two rounds: its seconds say nothing."""
    out: Path | None = None
    """Directory of the results; by default a new one below runs/."""


def count(chosen: dict[str, Problem]) -> dict[str, dict[str, int]]:
    """Evaluations to the tolerance; -1 where it was missed."""
    found = {}
    for name, problem in chosen.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        solvers = full_batch_solvers.ready(problem)
        found[name] = {
            key: ready.evaluations
            if ready.optimality <= full_batch_solvers.TOLERANCE
            else -1
            for key, ready in solvers.items()
        }
    return found


def _seconds(solvers: dict[str, Ready], rounds: int) -> dict[str, np.ndarray]:
    """A whole solve of each, once a round."""
    names, order = list(solvers), np.random.default_rng(0)
    found = {name: np.zeros(rounds) for name in names}
    for solver in solvers.values():
        jax.block_until_ready(solver.run())
    for number in range(rounds):
        for place in order.permutation(len(names)):
            begin = time.perf_counter()
            jax.block_until_ready(solvers[names[place]].run())
            found[names[place]][number] = time.perf_counter() - begin
    return found


def timed(problem: Problem, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over the rounds, and of the ratios to optaxls within a round."""
    print("the timed regression ...", file=sys.stderr, flush=True)
    solvers = full_batch_solvers.ready(problem)
    seconds = _seconds(solvers, rounds)
    return {
        name: {
            "evaluations": ready.evaluations,
            "optimality": ready.optimality,
            "seconds": float(np.median(seconds[name])),
            "milliseconds an evaluation": float(
                1e3 * np.median(seconds[name]) / ready.evaluations
            ),
            "to optaxls": float(np.median(seconds[name] / seconds["optaxls"])),
            "compile seconds": ready.compile_seconds,
        }
        for name, ready in solvers.items()
    }


def _table(rows: dict[str, dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[key]:.4g}" if key in row else "" for key in names]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(settings: Settings) -> dict[str, Any]:
    """Evaluations by problem, and times by solver."""
    chosen, rounds, size = (
        problems(),
        settings.rounds,
        (settings.rows, settings.columns),
    )
    if settings.quick:
        chosen = {name: chosen[name] for name in ("breast cancer", "Rosenbrock, 2")}
        rounds, size = 2, (200, 10)
    return {
        "evaluations": count(chosen),
        "timed": timed(wide_logistic(*size), rounds),
        "rows, columns": size,
        "machine": {"backend": jax.default_backend(), "jax": jax.__version__},
    }


def _run(settings: Settings) -> None:
    if settings.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, not {settings.rounds}")
    out = settings.out or run_directory.fresh(Path("runs"), "full_batch")
    identity = {"rounds": settings.rounds, "quick": settings.quick}
    run_directory.claim(out, identity, resume=False)
    with jax.enable_x64(True):
        found = measure(settings)
    numbers = json.dumps(found, indent=1) + "\n"
    run_directory.write(out / "full_batch.json", lambda path: path.write_text(numbers))
    print(f"Evaluations\n\n{_table(found['evaluations'])}\n")
    rows, columns = found["rows, columns"]
    print(f"Whole solves, {rows} x {columns}\n\n{_table(found['timed'])}")
    print(f"\nNumbers: {out / 'full_batch.json'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    settings = read(Settings, arguments)
    return exit_code(lambda: _run(settings))


if __name__ == "__main__":
    sys.exit(main())
