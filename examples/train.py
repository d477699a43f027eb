"""Trains an image classifier with no step size given, beside optimizers with one.

    python -m examples.train
    python -m examples.train --data cifar10 --model resnet --epochs 30 --out runs/c10
    python -m examples.train --data mine.npz --model mlp --compare ""

An own data set is an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and
`y_test`: inputs `(examples, height, width[, channels])` or `(examples, features)` of
any numeric type, labels integers from 0. Inputs are standardised here.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.training import data, experiment, models
from examples.training.classification import Classification
from examples.training.settings import RunSettings


@dataclasses.dataclass(frozen=True)
class Settings(RunSettings):
    """Train an image classifier; everything has a default."""

    data: str = "digits"
    """Data set: digits, mnist, fashion-mnist, cifar10, or a FILE.npz (x_train, ...)."""
    model: str = "cnn"
    """Model: mlp, cnn or resnet (with batch norm)."""
    data_dir: Path = Path("data")
    """Where the published files of mnist, fashion-mnist and cifar10 lie."""


def make_task(settings: Settings) -> Classification:
    """The data set and model that the settings name."""
    models.check(settings.model)
    dataset = data.load(settings.data, settings.data_dir)
    name = Path(settings.data).stem
    return Classification(name, dataset, settings.model, settings.batch_size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    return experiment.command(Settings, make_task, arguments)


if __name__ == "__main__":
    sys.exit(main())
