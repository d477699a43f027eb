"""What the training loop must know of a problem, and nothing more."""

from typing import Any, Protocol

import grain
import jax

Params = Any
ModelState = Any
Batch = Any


class Task(Protocol):
    """A problem to train on; the loop, checkpoints and plots work on any of them.

    Model state is what the forward pass updates and the optimizer must not touch:
    running statistics of batch norm, for instance. It enters and leaves `loss_fn`
    beside the parameters, so the trials of a line search cannot change it.

    Attributes:
        name: for titles, such as "digits, cnn".
        fingerprint: differs when the data differ; a run is not resumed on others.
        steps_per_epoch: batches in a pass over the training set.
        scores: names of what `evaluate` returns, units included; the first is
            plotted and all are tabulated.
    """

    name: str
    fingerprint: str
    steps_per_epoch: int
    scores: tuple[str, ...]

    def init(self, key: jax.Array) -> tuple[Params, ModelState]:
        """Parameters and model state to start from."""
        ...

    def loss_fn(
        self, params: Params, model_state: ModelState, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, ModelState]:
        """Loss in training mode and the new model state; the key is for dropout."""
        ...

    def evaluate(self, params: Params, model_state: ModelState) -> dict[str, float]:
        """The scores on held-out data, by their names."""
        ...

    def train_loss(self, params: Params, model_state: ModelState) -> float:
        """Loss over the full training set, in evaluation mode."""
        ...

    def batches(self, seed: int, epochs: int) -> grain.DatasetIterator:
        """The batches of the whole run; the iterator's position can be saved."""
        ...
