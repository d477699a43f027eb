"""The file that keeps the races of a tournament: what its table and its picture read.

The format is JSON with one race, that is one contender on one task, in a line.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.common import run_directory
from examples.common.errors import UsageError


class Table(NamedTuple):
    """Who races for a table, and which of their numbers it reads.

    Attributes:
        file: the name of the file that keeps them.
        contenders: their names.
        columns: keys of a record; `step_sizes` and `final` are always kept.
    """

    file: str
    contenders: tuple[str, ...]
    columns: tuple[str, ...] = ()


class Races(NamedTuple):
    """What a file holds.

    Attributes:
        made: the command, the machine and the versions that made the last of the races.
        results: by task, what `tournament.race_task` returns, as far as it was kept.
    """

    made: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]


def rounded(value: Any) -> Any:
    """The same to five digits, with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def text(value: Any) -> str:
    """JSON in which every mapping that contains no other is one line."""
    if not isinstance(value, Mapping) or not _has_mappings(value):
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    lines = (f"{json.dumps(key)}: {text(entry)}" for key, entry in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _has_mappings(value: Mapping[str, Any]) -> bool:
    return any(isinstance(entry, Mapping) for entry in value.values())


def kept(result: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """A task's result with nothing but these columns in its records."""
    records = {
        name: {
            key: record[key]
            for key in ("step_sizes", "final", *columns)
            if key in record
        }
        for name, record in result["records"].items()
    }
    return {**result, "records": records}


def write(file: Path, races: Races) -> None:
    """Writes the file anew."""
    tasks = {
        name: {key: entry for key, entry in result.items() if key != "records"}
        for name, result in races.results.items()
    }
    records = {name: result["records"] for name, result in races.results.items()}
    whole = text({"made by": races.made, "tasks": tasks, "races": records})
    file.parent.mkdir(parents=True, exist_ok=True)
    run_directory.write(file, lambda path: path.write_text(whole + "\n"))


def read(file: Path) -> Races:
    """What the file holds; nothing if there is none.

    Raises:
        UsageError: if it is no such file.
    """
    if not file.exists():
        return Races({}, {})
    try:
        found = json.loads(file.read_text())
        results = {
            name: task | {"records": found["races"][name]}
            for name, task in found["tasks"].items()
        }
        return Races(found["made by"], results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{file} is damaged; remove it") from None


def check(file: Path, names: Sequence[str], table: Table, seeds: int) -> None:
    """Refuses races of other seeds or columns, before hours are spent beside them.

    Args:
        file: it need not exist.
        names: of the tasks that are asked for.
        table: whose races the file should hold.
        seeds: how many each race should have; large tasks have one.
    """
    needed = {"final", "best", "end"} & {"final", *table.columns}
    for name, result in read(file).results.items():
        number = 1 if result.get("large") else seeds
        same = len(result["initial"]) == number and all(
            needed <= set(record) for record in result["records"].values()
        )
        if name in names and not same:
            raise UsageError(
                f"{file} holds other seeds or columns; choose another --out"
            )
