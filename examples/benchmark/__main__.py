"""Races optimizers that need no step size against tuned grids, and reports.

    python -m examples.benchmark --quick
    python -m examples.benchmark
    python -m examples.benchmark --tasks teacher,diabetes --out runs/two

All tasks take hours; what is in the directory of the results already is not run again,
so a run that was cut off goes on with the same command. Tables and pictures are drawn
anew from what is there.
"""

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from examples.benchmark import (
    figures,
    registry,
    report,
    scores,
    store,
    tables,
    tournament,
)
from examples.benchmark.contenders import ADAM_GRID
from examples.benchmark.scores import CONSTANT, Results
from examples.benchmark.store import Races, Table
from examples.benchmark.tasks import QUICK, TASKS
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code

_DEFAULT_OUT = Path("examples/benchmark/results")
_COLUMNS = ("scores", "milliseconds", "reached", "lowest")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Race optimizers that need no step size against tuned grids."""

    quick: bool = False
    """A few contenders, one other direction, one seed: minutes instead of hours."""
    tasks: str = ""
    """Tasks, separated by commas; by default all of them, with --quick three."""
    seeds: int | None = None
    """Seeds of each race, from 0; by default 3, with --quick 1."""
    out: Path | None = None
    """Results; by default examples/benchmark/results, of a part a new one in runs/."""
    workers: int = os.cpu_count() or 1
    """Tasks raced side by side, each on one core."""


class Plan(NamedTuple):
    """What is to be raced for each table, and where the results go."""

    tasks: tuple[str, ...]
    contenders: Table
    directions: Table
    searches: Table
    seeds: int
    out: Path


def plan(settings: Settings) -> Plan:
    """What the settings ask for; refuses what no tournament can do."""
    tasks, contenders = tuple(TASKS), (*registry.GRIDS, *registry.PEERS, *registry.OURS)
    directions, seeds, out = (*registry.DIRECTIONS, *registry.FREED), 3, _DEFAULT_OUT
    if settings.quick:
        tasks, contenders, seeds = QUICK, registry.QUICK, 1
        directions = ("sign", "auto(sign)")
        out = run_directory.fresh(Path("runs"), "benchmark-quick")
    if settings.tasks:
        # Not over the results of all of them.
        out = out if settings.quick else run_directory.fresh(Path("runs"), "benchmark")
        tasks = tuple(name.strip() for name in settings.tasks.split(","))
    if settings.seeds is not None:
        seeds = settings.seeds
    for name in tasks:
        if name not in TASKS:
            raise UsageError(f"unknown task {name!r}; choose from {', '.join(TASKS)}")
    for option, number in (("--seeds", seeds), ("--workers", settings.workers)):
        if number < 1:
            raise UsageError(f"{option} must be at least 1, not {number}")
    return Plan(
        tasks,
        Table("contenders.json", contenders, _COLUMNS),
        Table("directions.json", directions),
        Table("searches.json", registry.SEARCHES, ("steps", "trials")),
        seeds,
        settings.out or out,
    )


def _race(chosen: Plan, workers: int, command: str) -> tuple[Races, Races, Races]:
    """The races of the contenders, of the directions, and of the searches."""
    raced = (chosen.contenders, chosen.directions, chosen.searches)
    for table in raced:
        store.check(chosen.out / table.file, chosen.tasks, table, chosen.seeds)
    made = report.made_by(command)
    contenders, directions, searches = (
        tournament.run(chosen.tasks, table, chosen.seeds, chosen.out, workers, made)
        for table in raced
    )
    return contenders, directions, searches


def _dots(results: Results) -> dict[str, dict[str, list[float]]]:
    """Ratios by task, the best of `auto` first; held-out ones come last."""
    ratios = {
        task: {
            name: scores.ratios(result, name, CONSTANT).tolist()
            for name in ("auto", "prodigy", "adam_ponos")
            if name in result["records"]
        }
        for task, result in results.items()
    }

    def place(task: str) -> tuple[bool, float]:
        return results[task]["held_out"], max(ratios[task]["auto"])

    return {
        f"{task} *" if results[task]["held_out"] else task: ratios[task]
        for task in sorted(ratios, key=place)
    }


def _report(raced: tuple[Races, Races, Races], out: Path) -> None:
    """Prints the tables, writes them and the pictures."""
    (made, results), (_, directions), (_, searches) = raced
    extended = report.with_everywhere(results)
    found = report.numbers(extended, directions, searches, made)
    text = tables.markdown(found, len(ADAM_GRID))
    run_directory.write(out / "results.md", lambda path: path.write_text(text))
    by_contender = {
        name: scores.all_ratios(extended, name, CONSTANT)
        for name in found["contenders"]["all"]
    }
    tried = f"the best of {2 * len(ADAM_GRID)} constant steps of SGD and Adam"
    title = f"No step size given, against {tried}: {len(results)} tasks"
    run_directory.write(
        out / "profile.png",
        lambda path: figures.save_profile(path, title, by_contender),
    )
    races = "Every race, a dot for each seed (* held out while the rule was chosen)"
    run_directory.write(
        out / "tasks.png", lambda path: figures.save_dots(path, races, _dots(results))
    )
    print(text)
    print(f"Races, tables and pictures: {out}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    settings = read(Settings, arguments)

    def command() -> None:
        chosen = plan(settings)
        typed = shlex.join(["python", "-m", "examples.benchmark", *arguments])
        _report(_race(chosen, settings.workers, typed), chosen.out)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
