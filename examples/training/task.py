"""What the training loop must know of a problem, and nothing more."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import grain
import jax

Params = Any
ModelState = Any
Batch = Any


class Case(NamedTuple):
    """A task as the doctor sees it: the loss of one example, in evaluation mode.

    Attributes:
        loss_fn: `(params, example) -> loss`.
        examples: arrays with a leading axis of training examples.
        labels: classes, examples first; None where there are none.
    """

    loss_fn: Callable[[Params, Any], jax.Array]
    examples: Any
    labels: Any


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

    def model_state_at(self, params: Params, model_state: ModelState) -> ModelState:
        """The model state for params that no step went through, such as an average."""
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

    def case(self, model_state: ModelState) -> Case:
        """What the doctor looks at, with this state of the model."""
        ...
