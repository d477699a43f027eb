"""Races optimizers that need no step size against tuned grids, and reports.

    python -m examples.benchmark --quick
    python -m examples.benchmark
    python -m examples.benchmark --tasks teacher,diabetes --out runs/two
    python -m examples.benchmark --half choose --seeds 1 --contenders auto,adam

All tasks take hours; what is in the directory of the results already is not run again,
so a run that was cut off goes on with the same command. Tables and pictures are drawn
anew from what is there, but only of the tasks that are asked for.
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
from examples.benchmark.scores import Results
from examples.benchmark.store import Races, Table
from examples.benchmark.tasks import HALVES, QUICK, of_half
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code

_DEFAULT_OUT = Path("examples/benchmark/results")
_LOSSES = ("best", "end")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Race optimizers that need no step size against tuned grids."""

    quick: bool = False
    """A few contenders, one other direction, one seed: minutes instead of hours."""
    half: str = "all"
    """Tasks to choose by (choose), those held out (report), or all of them; --quick
    shows some to choose by."""
    tasks: str = ""
    """Tasks, separated by commas; by default all of the half, with --quick three."""
    contenders: str = ""
    """Contenders, separated by commas, directions and searches among them; by default
    all. Those that the directory of the results has are told of, too."""
    again: str = ""
    """Contenders to race anew, though the directory of the results has them."""
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
    again: tuple[str, ...]
    seeds: int
    out: Path


def _listed(option: str, given: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names separated by commas, in the order in which they are known."""
    names = {name.strip() for name in given.split(",")} - {""}
    for name in sorted(names - set(known)):
        known_ones = ", ".join(known)
        raise UsageError(f"unknown {option} {name!r}; choose from {known_ones}")
    return tuple(name for name in known if name in names)


def _tasks(settings: Settings) -> tuple[str, ...]:
    """The tasks asked for."""
    if settings.half not in HALVES:
        halves = ", ".join(HALVES)
        raise UsageError(f"--half must be one of {halves}, not {settings.half}")
    half = of_half(settings.half)
    if settings.tasks:
        return _listed("task", settings.tasks, half)
    return QUICK if settings.quick else half


def plan(settings: Settings) -> Plan:
    """What the settings ask for; refuses what no tournament can do."""
    tasks = _tasks(settings)
    contenders = (*registry.GRIDS, *registry.PEERS, *registry.OURS)
    directions, seeds = (*registry.DIRECTIONS, *registry.FREED), 3
    searches, out = registry.SEARCHES, _DEFAULT_OUT
    everyone = (*contenders, *directions, *searches)
    again = _listed("contender", settings.again, everyone)
    if settings.contenders:
        named = _listed("contender", settings.contenders, everyone)
        contenders, directions, searches = (
            tuple(name for name in table if name in named)
            for table in (contenders, directions, searches)
        )
    elif settings.quick:
        contenders, directions = registry.QUICK, ("sign", "auto(sign)")
    # A part is not written over the results of all.
    if settings.quick:
        out, seeds = run_directory.fresh(Path("runs"), "benchmark-quick"), 1
    elif settings.tasks or settings.contenders or settings.half != "all":
        out = run_directory.fresh(Path("runs"), "benchmark")
    if settings.seeds is not None:
        seeds = settings.seeds
    for option, number in (("--seeds", seeds), ("--workers", settings.workers)):
        if number < 1:
            raise UsageError(f"{option} must be at least 1, not {number}")
    return Plan(
        tasks,
        Table("contenders.json", contenders, (*_LOSSES, "passes")),
        Table("directions.json", directions),
        Table("searches.json", searches, ("steps", "trials")),
        again,
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
        tournament.run(
            chosen.tasks, table, chosen.seeds, chosen.out, workers, made, chosen.again
        )
        for table in raced
    )
    return contenders, directions, searches


def _dots(results: Results) -> dict[str, dict[str, list[float]]]:
    """Ratios by task, the best of `auto` first; held-out ones come last."""
    by, grid = report.compared(results)[report.HEADLINE]
    ratios = {
        task: {
            name: scores.ratios(result, name, grid, by).tolist()
            for name in ("auto", "prodigy", "adam_ponos")
            if name in result["records"]
        }
        for task, result in scores.raced(results, "auto").items()
    }

    def place(task: str) -> tuple[bool, float]:
        return results[task]["held_out"], max(ratios[task]["auto"])

    return {
        f"{task} *" if results[task]["held_out"] else task: ratios[task]
        for task in sorted(ratios, key=place)
    }


def _panels(results: Results, names: Sequence[str]) -> list[figures.Panel]:
    """Validation beside training."""
    shown = (
        (report.HEADLINE, "Validation, best checkpoint", figures.VALIDATION, (0.5, 2)),
        (report.IN_TRAINING, "Training, at the end", figures.TRAINING, (0.01, 100)),
    )
    compared, panels = report.compared(results), []
    for what, title, label, limits in shown:
        if what in compared:
            by, grid = compared[what]
            ratios = {n: scores.all_ratios(results, n, grid, by) for n in names}
            panels.append(figures.Panel(title, label, limits, ratios))
    return panels


def _report(raced: tuple[Races, Races, Races], out: Path) -> None:
    """Prints the tables, writes them and the pictures."""
    (made, results), (_, directions), (_, searches) = raced
    if report.HEADLINE not in report.compared(results):
        raise UsageError(
            "no grid to compare with; add one to --contenders, such as adam"
        )
    extended = report.with_made_up(results)
    found = report.numbers(extended, directions, searches, made)
    text = tables.markdown(found)
    run_directory.write(out / "results.md", lambda path: path.write_text(text))
    panels = _panels(extended, list(found["contenders"]["all"]))
    title = f"Against the best run of a grid in each race: {len(results)} tasks"
    run_directory.write(
        out / "profile.png", lambda path: figures.save_profile(path, title, panels)
    )
    if dots := _dots(results):
        races = "Every race, a dot for each seed (* held out while it was chosen)"
        run_directory.write(
            out / "tasks.png",
            lambda path: figures.save_dots(
                path, races, dots, figures.VALIDATION, (0.3, 3)
            ),
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
