"""Compares solvers of finite sums: passes over the data, and seconds, to a gap.

    python -m examples.benchmark.finite_sums
    python -m examples.benchmark.finite_sums --rounds 9 --out runs/finite_sums
    python -m examples.benchmark.finite_sums --quick

The gap is (f - f*) / (f(0) - f*) of a logistic regression with an L2 penalty, in
float64. First the passes to a gap of 1e-6 are counted. Then whole solves of that many
passes are timed after compilation, in a new order every round. Close other programs.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from examples.benchmark import finite_sums_peers as peers
from examples.benchmark import finite_sums_solvers as solvers
from examples.benchmark.finite_sums_solvers import Data, Solve
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code

TARGET = 1e-6


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare solvers of finite sums; everything has a default."""

    rounds: int = 5
    """Timed solves of each solver."""
    seeds: int = 3
    """Runs whose median number of passes is told."""
    max_passes: int = 1000
    """Passes after which a solver has missed the gap."""
    rows: int = 50_000
    """Rows of the synthetic problem."""
    columns: int = 200
    """Its columns."""
    quick: bool = False
    """A tiny synthetic problem only, one seed, two rounds: its seconds say nothing."""
    out: Path | None = None
    """Directory of the results; by default a new one below runs/."""


def passes_to(gap_after: Callable[[int], float], max_passes: int) -> int:
    """The fewest passes to the target; -1 where ``max_passes`` do not reach it.

    Doubled, then halved in between: a run of k passes is the beginning of a longer one.
    """
    high = 1
    while gap_after(high) > TARGET:
        if high >= max_passes:
            return -1
        high = min(2 * high, max_passes)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if gap_after(middle) <= TARGET:
            high = middle
        else:
            low = middle
    return high


def _gap(data: Data, least: float, solve: Solve, passes: int, seed: int) -> float:
    value = solvers.objective(data, solve(data, passes, seed))
    return (value - least) / (np.log(2) - least)


def _seconds(
    data: Data, raced: dict[str, Solve], passes: dict[str, int], rounds: int
) -> dict[str, dict[str, float]]:
    """Medians and quartiles of whole solves, and what the first call took besides."""
    names, order = (
        [name for name in raced if passes[name] > 0],
        np.random.default_rng(0),
    )
    found = {name: np.zeros(rounds) for name in names}

    def timed(name: str) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(raced[name](data, passes[name], 0))
        return time.perf_counter() - begin

    for number in range(rounds):
        for place in order.permutation(len(names)):
            found[names[place]][number] = timed(names[place])
    jax.clear_caches()
    told = {}
    for name in names:
        low, middle, high = np.quantile(found[name], (0.25, 0.5, 0.75))
        told[name] = {
            "seconds": float(middle),
            "lower quartile": float(low),
            "upper quartile": float(high),
            "compile seconds": max(timed(name) - float(middle), 0.0),
        }
    return told


def _compared(name: str, data: Data, settings: Settings) -> dict[str, dict[str, float]]:
    least, raced = solvers.least(data), solvers.contenders() | peers.installed()
    passes = {}
    for solver, solve in raced.items():
        print(f"{name}: {solver} ...", file=sys.stderr, flush=True)
        counts = [
            passes_to(
                lambda n, seed=seed, solve=solve: _gap(data, least, solve, n, seed),
                settings.max_passes,
            )
            for seed in range(settings.seeds)
        ]
        reached = all(count > 0 for count in counts)
        passes[solver] = int(np.median(counts)) if reached else -1
    rows: dict[str, dict[str, float]] = {s: {"passes": n} for s, n in passes.items()}
    for solver, found in _seconds(data, raced, passes, settings.rounds).items():
        rows[solver] |= found
    most = max(max(passes.values()), 1)
    for solver, solve in solvers.beside().items():
        print(f"{name}: {solver} ...", file=sys.stderr, flush=True)
        rows[solver] = {f"gap after {most} passes": _gap(data, least, solve, most, 0)}
    return rows


def _table(rows: dict[str, dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[key]:.3g}" if key in row else "" for key in names]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(settings: Settings) -> dict[str, Any]:
    """Passes and seconds by problem and solver."""
    if settings.quick:
        settings = dataclasses.replace(settings, rounds=2, seeds=1, max_passes=64)
        chosen = {"synthetic, 400 x 5": solvers.synthetic(400, 5)}
    else:
        chosen = solvers.problems(settings.rows, settings.columns)
    found: dict[str, Any] = {
        name: _compared(name, data, settings) for name, data in chosen.items()
    }
    return found | {"machine": {"jax": jax.__version__}}


def _run(settings: Settings) -> None:
    for name in ("rounds", "seeds", "max_passes", "rows", "columns"):
        if getattr(settings, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
    out = settings.out or run_directory.fresh(Path("runs"), "finite_sums")
    identity = {"rounds": settings.rounds, "quick": settings.quick}
    run_directory.claim(out, identity, resume=False)
    with jax.enable_x64(True):
        found = measure(settings)
    numbers = json.dumps(found, indent=1) + "\n"
    run_directory.write(out / "finite_sums.json", lambda path: path.write_text(numbers))
    for name, rows in found.items():
        if name != "machine":
            print(f"{name}, to a gap of {TARGET:g}\n\n{_table(rows)}\n")
    print(f"Numbers: {out / 'finite_sums.json'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    settings = read(Settings, arguments)
    return exit_code(lambda: _run(settings))


if __name__ == "__main__":
    sys.exit(main())
