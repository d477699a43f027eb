"""Does `auto` carry over, untouched, to other widths, depths, batches, lengths?

    python -m examples.benchmark.transfer
    python -m examples.benchmark.transfer --quick

Each variant of a task is raced against a small grid of constant step sizes for the
same budget. What is in the directory of the results already is not run again. All of
them take half an hour on one core, the one with a million parameters a third of that.
"""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.benchmark import (
    figures,
    report,
    scores,
    store,
    tables,
    tournament,
    transfer_tasks,
)
from examples.benchmark.scores import TRAINING
from examples.benchmark.store import Races
from examples.benchmark.transfer_tasks import Variant
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code

_DEFAULT_OUT = Path("examples/benchmark/results/transfer")
_FILE = "transfer.json"
_GRID = ("sgd", "adam")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Race `auto` on tasks that were made larger, longer or different."""

    quick: bool = False
    """Two variants cut short, one seed: shows that all runs."""
    variants: str = ""
    """Variants, separated by commas; by default all of them."""
    out: Path | None = None
    """Results; by default beside the benchmark's, of a part a new one in runs/."""


def _chosen(settings: Settings) -> dict[str, Variant]:
    known = (
        transfer_tasks.quick_variants() if settings.quick else transfer_tasks.variants()
    )
    names = [name.strip() for name in settings.variants.split(",")]
    if not settings.variants:
        return known
    for name in names:
        if name not in known:
            raise UsageError(
                f"unknown variant {name!r}; choose from {', '.join(known)}"
            )
    return {name: known[name] for name in names}


def race_variant(variant: Variant) -> dict[str, Any]:
    """All contenders on a variant, as `tournament.run_task` returns it."""
    return tournament.race_task(
        variant.task, variant.contenders, variant.seeds, variant.final
    )


def race_all(
    variants: Mapping[str, Variant], file: Path, made: Mapping[str, Any]
) -> Races:
    """The races of all variants; those that the file holds are read.

    Args:
        variants: by name.
        file: it need not exist.
        made: what to write of this run, if anything is raced.
    """
    races = store.read(file)
    for name, variant in tqdm(variants.items(), desc="variants"):
        if name not in races.results:
            found = store.kept(race_variant(variant), ())
            races = Races(made, {**races.results, name: found})
            store.write(file, races)
    return Races(races.made, {name: races.results[name] for name in variants})


def _at_edge(result: Mapping[str, Any], run: str) -> bool:
    """Whether a run of the grid had its smallest or largest step size."""
    name, size = run.split()
    sizes = result["records"][name]["step_sizes"]
    return size in (f"{sizes[0]:.2g}", f"{sizes[-1]:.2g}")


def summary(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is told of each variant."""
    found = {}
    for name, result in results.items():
        own, grid = (
            scores.best(result, names, TRAINING) for names in (("auto",), _GRID)
        )
        ratios = scores.ratios(result, "auto", _GRID, TRAINING)
        found[name] = {
            "steps": result["num_steps"],
            "losses": own.losses.tolist(),
            "grid's losses": grid.losses.tolist(),
            "grid's runs": grid.names,
            "at an edge of the grid": [_at_edge(result, run) for run in grid.names],
            "ratios": ratios.tolist(),
            "geometric mean": scores.geometric_mean(ratios),
        }
    return found


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            name,
            f"{row['steps']}",
            ", ".join(
                f"{run} (edge)" if edge else run
                for run, edge in zip(
                    row["grid's runs"], row["at an edge of the grid"], strict=True
                )
            ),
            *(f"{np.median(row[key]):.3g}" for key in ("grid's losses", "losses")),
            tables.ratio_text(row["geometric mean"]),
            " ".join(map(tables.ratio_text, row["ratios"])),
        ]
        for name, row in found.items()
    ]
    header = ["variant", "steps", "best runs of the grid", "grid's loss", "auto's loss"]
    return tables.table([*header, "ratio", "by seed"], rows)


_READ = """\
Final training loss of `auto`, with no argument, to that of the best constant step of
SGD with momentum 0.9 and Adam in each race, at the same cost. The batch changes at an
equal number of steps. "Edge": the best step of the grid was its smallest or largest, so
that a larger grid may do better. Where the labels change, the loss is that on the new
labels, for `auto` and for the choice of the grid's best."""


def _report(races: Races, out: Path) -> None:
    made, results = races
    found = summary(results)
    head = ["# Transfer", f"`{made['command']}`", _READ]
    text = "\n\n".join([*head, _table(found)]) + "\n"
    run_directory.write(out / "transfer.md", lambda path: path.write_text(text))
    rows = {name: {"auto": row["ratios"]} for name, row in found.items()}
    title = "auto, untouched, on tasks changed or new (a dot for each seed)"
    run_directory.write(
        out / "transfer.png",
        lambda path: figures.save_dots(path, title, rows, figures.TRAINING),
    )
    print(text)
    print(f"Races, table and picture: {out}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    settings = read(Settings, arguments)

    def command() -> None:
        variants = _chosen(settings)
        out = _DEFAULT_OUT
        if settings.quick or settings.variants:
            out = run_directory.fresh(Path("runs"), "transfer")
        out = settings.out or out
        typed = ["python", "-m", "examples.benchmark.transfer", *arguments]
        made = report.made_by(shlex.join(typed))
        _report(race_all(variants, out / _FILE, made), out)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
