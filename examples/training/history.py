"""What a run records, and the numbers derived from it."""

from typing import NamedTuple

import numpy as np


class History(NamedTuple):
    """Records of a run, of fixed size so that they fit any checkpoint of it.

    What has not happened yet is NaN, or 0 where integers are kept. The loop writes
    into the arrays.

    Attributes:
        loss: loss on each step's batch before the step, `(steps,)`.
        step_size: step size taken, `(steps,)`; NaN if the optimizer reports none.
        num_trials: evaluations by a line search in the step, `(steps,)`.
        cost: forward passes that the step took, `(steps,)`.
        scores: what `Task.evaluate` found after each epoch, `(epochs, scores)`.
        seconds: time spent in training, `()`: compilation and batches included,
            evaluation and checkpoints not.
    """

    loss: np.ndarray
    step_size: np.ndarray
    num_trials: np.ndarray
    cost: np.ndarray
    scores: np.ndarray
    seconds: np.ndarray

    @classmethod
    def empty(cls, epochs: int, steps_per_epoch: int, num_scores: int) -> "History":
        """Room for a whole run of which nothing has happened."""
        steps = epochs * steps_per_epoch
        return cls(
            loss=np.full(steps, np.nan, np.float32),
            step_size=np.full(steps, np.nan, np.float32),
            num_trials=np.zeros(steps, np.int32),
            cost=np.zeros(steps, np.int32),
            scores=np.full((epochs, num_scores), np.nan, np.float64),
            seconds=np.zeros((), np.float64),
        )

    def forward_passes(self) -> np.ndarray:
        """Forward passes spent up to and including each step, `(steps,)`."""
        return np.cumsum(self.cost, dtype=np.int64)

    def searched(self) -> bool:
        """Whether the optimizer evaluated any trial at all."""
        return bool(self.num_trials.any())

    def per_epoch(self, values: np.ndarray) -> np.ndarray:
        """Values of the steps, one row for each epoch."""
        return values.reshape(len(self.scores), -1)


class Result(NamedTuple):
    """A finished training.

    Attributes:
        optimizer: its name.
        history: the records of all steps.
        train_loss: loss over the full training set at the final parameters.
    """

    optimizer: str
    history: History
    train_loss: float
