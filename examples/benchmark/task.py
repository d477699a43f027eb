"""What a task of the benchmark is: a loss of a batch, data, and how long to train."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from examples.benchmark.arrays import Split
from examples.common.shuffling import epochs_of

Loss = Callable[[jax.Array, jax.Array], jax.Array]
# `params`, and batch statistics under other names where a network has some.
Variables = Mapping[str, Any]

FAMILIES = (
    "text", "diffusion", "images", "tables", "synthetic", "embeddings", "densities",
)  # fmt: skip


class Problem:
    """What is trained: a loss that may be any function of params and a batch.

    By default it has neither noise nor statistics, and is the validation loss too.
    """

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Random params, for inputs like these."""
        raise NotImplementedError

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean loss over these rows, as in evaluation."""
        raise NotImplementedError

    def loss(
        self, variables: Variables, x: jax.Array, y: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The loss of a batch as in training, and new batch statistics."""
        del key
        return self.mean_loss(variables, x, y), {}

    def valid_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean validation loss over these rows."""
        return self.mean_loss(variables, x, y)


class Pointwise(Problem):
    """The mean over examples of a loss of predictions and targets.

    Args:
        model: a linen module, inputs to predictions.
        of_each: `(predictions, targets) -> loss of each example`.
    """

    def __init__(self, model: nn.Module, of_each: Loss) -> None:
        self.model, self.of_each = model, of_each

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Random params."""
        return self.model.init(key, x[:1])

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean loss over the examples given."""
        predictions: Any = self.model.apply(variables, x)
        return jnp.mean(self.of_each(predictions, y))


class Task(NamedTuple):
    """A problem, its data and how long to train.

    Attributes:
        name: as on the command line.
        problem: the loss, and what is trained.
        split: training and validation rows.
        family: one of `FAMILIES`.
        batch_size: rows in a step.
        num_steps: gradient steps that the budget pays for.
        held_out: not looked at while `auto` is chosen.
        lanes: runs that are trained at once; a convolution is slow when batched.
        rows_told: the first so many training rows make the training loss that is told.
        negative: the loss may be negative, so that differences are told, not ratios.
        large: raced with fewer step sizes and one seed.
    """

    name: str
    problem: Problem
    split: Split
    family: str
    batch_size: int = 64
    num_steps: int = 1000
    held_out: bool = False
    lanes: int = 33
    rows_told: int = 2000
    negative: bool = False
    large: bool = False

    def init(self, key: jax.Array) -> Variables:
        """Random params, and batch statistics where there are some."""
        return self.problem.init(key, jnp.asarray(self.split.x_train[:1]))

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean loss over these rows, as in evaluation."""
        return self.problem.mean_loss(variables, x, y)

    def batches(self, seed: int) -> np.ndarray:
        """Row numbers `(num_steps, batch_size)`, epoch by epoch, none twice in one."""
        rows = len(self.split.x_train)
        epochs = -(-self.num_steps // (rows // self.batch_size))
        return epochs_of(rows, self.batch_size, epochs, seed)[: self.num_steps]


def squared(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Half the mean squared error of each example."""
    return 0.5 * jnp.mean((outputs - targets) ** 2, -1)


entropy = optax.softmax_cross_entropy_with_integer_labels


def classify(
    name: str, family: str, model: nn.Module, split: Split, **settings: Any
) -> Task:
    """A task with softmax cross-entropy and labels."""
    return Task(name, Pointwise(model, entropy), split, family, **settings)


def regress(
    name: str,
    family: str,
    model: nn.Module,
    split: Split,
    of_each: Loss = squared,
    **settings: Any,
) -> Task:
    """A task with a loss of outputs and vectors as targets."""
    return Task(name, Pointwise(model, of_each), split, family, **settings)
