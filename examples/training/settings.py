"""What every training command can be told, how it is parsed and what is refused."""

import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from examples.common.command_line import read
from examples.common.errors import UsageError
from examples.training import optimizers

_PLACES = ("out", "resume", "data_dir", "host_id", "coordinator")
_MAX_SEED = 2**31 - 1
_OPTIMIZER_HELP = f"Optimizer to train with: {', '.join(optimizers.names())}."
_LEARNING_RATE_HELP = (
    "Step size of the optimizers that must be told one:"
    f" {', '.join(optimizers.with_learning_rate())}. By default 0.1 for sgd and 1e-3"
    " for the others."
)


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Settings shared by all training commands; a command adds its own fields."""

    optimizer: Annotated[str, tyro.conf.arg(help=_OPTIMIZER_HELP)] = "auto"
    compare: str = "adam,ponos"
    """Optimizers to train beside it, separated by commas; "" for none."""
    learning_rate: Annotated[float | None, tyro.conf.arg(help=_LEARNING_RATE_HELP)] = (
        None
    )
    epochs: int = 40
    """Passes over the training set."""
    batch_size: int = 64
    """Examples in a batch; an incomplete last batch of an epoch is left out."""
    seed: int = 0
    """Seed of the initial parameters, of the order of the batches and of dropout."""
    out: Path | None = None
    """Directory of the results; by default a new one below runs/."""
    resume: bool = False
    """Go on with the run in --out, which must have had the same settings."""
    diagnose: bool = False
    """Do not train: ask the doctor about this model and these data."""
    hosts: int = 1
    """Processes that train together: start this command once for each --host-id."""
    host_id: int = 0
    """Number of this process among the --hosts, from 0; only 0 shows and writes."""
    coordinator: str = "127.0.0.1:8476"
    """ADDRESS:PORT of process 0, which the others reach it by."""

    def optimizer_names(self) -> list[str]:
        """The optimizers to train, the main one first, none twice."""
        compared = [name.strip() for name in self.compare.split(",")]
        return list(dict.fromkeys([self.optimizer, *filter(None, compared)]))

    def identity(self) -> dict[str, Any]:
        """The settings that decide the numbers of a run, ready for JSON.

        Where the run reads, writes and takes place does not belong to them: a
        directory may be moved between two starts.
        """
        fields = dataclasses.asdict(self)
        for place in (*_PLACES, "diagnose"):
            fields.pop(place, None)
        return fields


SettingsT = TypeVar("SettingsT", bound=RunSettings)


def parse(settings_class: type[SettingsT], arguments: Sequence[str] | None) -> Any:
    """Reads the command line; a mistake becomes one line, `--help` still exits."""
    complaint = io.StringIO()
    try:
        # tyro draws a box of several lines on stderr; its first paragraph is kept.
        with contextlib.redirect_stderr(complaint):
            settings = read(settings_class, arguments)
    except SystemExit as stop:
        if stop.code:
            raise UsageError(_first_paragraph(complaint.getvalue())) from None
        raise
    _check(settings)
    return settings


def _first_paragraph(box: str) -> str:
    """The text of tyro's error box up to its first rule, on one line."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    message = []
    for line in lines:
        if line.startswith(("─", "╰")):
            break
        message.append(line)
    # Of an optional number tyro tells every type it tried; the first sentence will do.
    text = " ".join(" ".join(message).split())
    return text.split(". Got errors:")[0]


def _check(settings: RunSettings) -> None:
    """Refuses numbers and names that no run can use, before anything is written."""
    for option, number in (
        ("--epochs", settings.epochs),
        ("--batch-size", settings.batch_size),
        ("--hosts", settings.hosts),
    ):
        if number < 1:
            raise UsageError(f"{option} must be at least 1, not {number}")
    if not 0 <= settings.seed <= _MAX_SEED:
        raise UsageError(
            f"--seed must lie between 0 and {_MAX_SEED}, not {settings.seed}"
        )
    rate = settings.learning_rate
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"--learning-rate must be positive and finite, not {rate}")
    if settings.resume and settings.out is None:
        raise UsageError("--resume needs --out DIR, the directory of the run to go on")
    if not 0 <= settings.host_id < settings.hosts:
        raise UsageError(
            f"--host-id must lie between 0 and {settings.hosts - 1}, for --hosts"
            f" {settings.hosts}, not {settings.host_id}"
        )
    if not re.fullmatch(r".+:\d{1,5}", settings.coordinator):
        raise UsageError(
            f"--coordinator must be ADDRESS:PORT, not {settings.coordinator}"
        )
    if settings.diagnose and (settings.hosts > 1 or settings.resume):
        raise UsageError("--diagnose takes neither --hosts nor --resume")
    if settings.hosts > 1 and settings.out is None:
        raise UsageError("--hosts needs --out DIR, a directory that all of them see")
    optimizers.check_names(settings.optimizer_names(), rate)
