"""Trains a word-level transformer on the English of Python's own help texts.

    python -m examples.train_lm
    python -m examples.train_lm --epochs 20 --optimizer adam_sls --compare salsa,adam
    python -m examples.train_lm --vocabulary 400 --length 64 --out runs/lm

The text comes with Python (`pydoc help`), so nothing is downloaded. A fifth of the
texts is held out. Most words are rare, which is where SGD and Adam differ: the table
tells the held-out loss of frequent and of rare words apart.
"""

import dataclasses
import sys
from collections.abc import Sequence

from examples.common import text
from examples.common.errors import UsageError
from examples.training import experiment
from examples.training.language import LanguageModel
from examples.training.settings import RunSettings


@dataclasses.dataclass(frozen=True)
class Settings(RunSettings):
    """Train a language model; everything has a default."""

    optimizer: str = "auto"
    """Optimizer to train with."""
    compare: str = "adam,salsa,sgd"
    """Optimizers to train beside it, separated by commas; "" for none."""
    epochs: int = 8
    """Passes over the training texts."""
    batch_size: int = 32
    """Rows of words in a batch; an incomplete last batch of an epoch is left out."""
    vocabulary: int = 800
    """Words told apart: the most frequent ones, and <unk> for all others."""
    length: int = 32
    """Words predicted in a row, each from those before it."""


def make_task(settings: Settings) -> LanguageModel:
    """The texts and the model that the settings name."""
    for option, number, least in (
        ("--vocabulary", settings.vocabulary, 2),
        ("--length", settings.length, 1),
    ):
        if number < least:
            raise UsageError(f"{option} must be at least {least}, not {number}")
    corpus = text.load(settings.vocabulary, settings.length)
    return LanguageModel(corpus, settings.batch_size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    return experiment.command(Settings, make_task, arguments)


if __name__ == "__main__":
    sys.exit(main())
