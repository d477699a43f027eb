"""The directory of a run: who may write there, and how files get into it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.common.errors import UsageError

# Where runs go that were not told a place.
PARENT = Path("runs")
_RECORD = "run.json"
_PARTIAL = ".partial-"


def claim(out: Path, identity: dict[str, Any], resume: bool) -> None:
    """Makes the directory a run's own, or refuses it without touching it.

    To begin a run it must be new or empty, to resume one it must hold this very run.
    What a run left that was killed before it wrote its record counts as nothing.

    Args:
        out: the directory; it need not exist where a run begins.
        identity: what decides the numbers of a run, as JSON keeps it.
        resume: whether the user asked to go on with what is there.
    """
    record = out / _RECORD
    if record.is_file():
        _check_record(record, identity, resume)
        return
    if resume:
        found = "holds no run" if out.is_dir() else "is no directory"
        raise UsageError(f"nothing to resume: {out} {found}; to begin, omit --resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(not path.name.startswith(_PARTIAL) for path in out.iterdir()):
            raise UsageError(
                f"{out} is not empty and holds no run; choose another --out"
            )
        text = json.dumps(identity, indent=2) + "\n"
        write(record, lambda path: path.write_text(text))
    except OSError as error:
        raise UsageError(f"cannot write to {out} ({error.strerror})") from None


def _check_record(record: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuses another run's directory, and this run's unless it is to be resumed."""
    if not resume:
        raise UsageError(
            f"{record.parent} holds the results of a run; add --resume to go on with"
            " it, or choose another --out"
        )
    try:
        other = json.loads(record.read_text())
        different = [key for key in identity if other[key] != identity[key]]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{record} is damaged; choose another --out") from None
    if different:
        told = ", ".join(
            f"--{key.replace('_', '-')} was {_short(other[key])},"
            f" now {_short(identity[key])}"
            for key in different
        )
        raise UsageError(f"{record.parent} holds a run with other settings: {told}")


def fresh(parent: Path, stem: str) -> Path:
    """A directory below `parent` that does not exist yet, numbered from 1."""
    number = 1
    while (out := parent / f"{stem}-{number}").exists():
        number += 1
    return out


def write(path: Path, writer: Callable[[Path], object]) -> None:
    """Writes a file so that a kill leaves the old one or the new one, never half."""
    partial = path.with_name(_PARTIAL + path.name)
    writer(partial)
    os.replace(partial, path)


def _short(setting: Any) -> str:
    """A setting for a message; a digest is cut."""
    return str(setting)[:20]
