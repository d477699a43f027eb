"""Image classification as a `Task`: a data set and a model."""

from collections.abc import Iterator
from typing import Any, cast

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from examples import models
from examples.data import Dataset
from examples.errors import UsageError

ACCURACY = "test accuracy (%)"

# Large enough to be quick, small enough for the activations to fit anywhere.
_EVALUATION_BATCH = 500


class Classification:
    """A `Task`: learn the labels of a data set's images with cross-entropy loss.

    Attributes: those of `Task`.
    """

    scores: tuple[str, ...] = (ACCURACY,)

    def __init__(self, name: str, dataset: Dataset, model: str, batch_size: int):
        """Checks that data, model and batch size go together.

        Args:
            name: of the data, for titles.
            dataset: standardised on the device, batch by batch.
            model: one of `models.MODELS`.
            batch_size: of training; evaluation has its own.
        """
        self._shape = dataset.x_train.shape[1:]
        models.check(model, self._shape)
        num_examples = len(dataset.x_train)
        if batch_size > num_examples:
            raise UsageError(
                f"--batch-size {batch_size} exceeds the {num_examples} training"
                f" examples of {name}"
            )
        self.name = f"{name}, {model}"
        self.fingerprint = dataset.fingerprint()
        self.steps_per_epoch = num_examples // batch_size
        self._dataset = dataset
        self._model = model
        self._batch_size = batch_size
        self._mean, self._deviation = dataset.statistics()
        abstract_model = nnx.eval_shape(lambda: self._build(jax.random.key(0)))
        self._graph = nnx.graphdef(abstract_model)
        self._sums = jax.jit(self._sums_of_batch)

    def init(self, key: jax.Array) -> tuple[nnx.State, nnx.State]:
        """Fresh parameters and batch statistics."""
        return _states(self._build(key))

    def loss_fn(
        self,
        params: nnx.State,
        model_state: nnx.State,
        batch: dict[str, jax.Array],
        key: jax.Array,
    ) -> tuple[jax.Array, nnx.State]:
        """Mean cross-entropy of a batch; the key is unused, as nothing drops out."""
        del key
        model = self._merge(params, model_state)
        model.train()
        losses = _cross_entropy(model(self._standardise(batch["x"])), batch["y"])
        return losses.mean(), _states(model)[1]

    def evaluate(self, params: nnx.State, model_state: nnx.State) -> dict[str, float]:
        """Accuracy on the full test set."""
        data = self._dataset
        _, accuracy = self._means(params, model_state, data.x_test, data.y_test)
        return {ACCURACY: 100 * accuracy}

    def train_loss(self, params: nnx.State, model_state: nnx.State) -> float:
        """Mean cross-entropy over the full training set."""
        data = self._dataset
        loss, _ = self._means(params, model_state, data.x_train, data.y_train)
        return loss

    def batches(self, seed: int, epochs: int) -> grain.DatasetIterator:
        """Batches of a new order every epoch, an incomplete last one left out.

        Grain shuffles numbers of examples, and the arrays are indexed with a whole
        batch of them: far quicker than gathering examples one by one.
        """
        data = self._dataset
        order = grain.MapDataset.range(len(data.x_train)).seed(seed).shuffle()
        batches = order.batch(self._batch_size, drop_remainder=True).map(
            lambda chosen: {"x": data.x_train[chosen], "y": data.y_train[chosen]}
        )
        reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
        return iter(batches.repeat(epochs).to_iter_dataset(reading))

    def _build(self, key: jax.Array) -> nnx.Module:
        make = models.MODELS[self._model]
        return make(self._shape, self._dataset.num_classes, nnx.Rngs(key))

    def _merge(self, params: nnx.State, model_state: nnx.State) -> Any:
        # Without copies batch norm would write into the caller's variables.
        return nnx.merge(self._graph, params, model_state, copy=True)

    def _standardise(self, x: jax.Array) -> jax.Array:
        return (x.astype(jnp.float32) - self._mean) / self._deviation

    def _sums_of_batch(self, params, model_state, x, y, weight) -> jax.Array:
        """Summed loss and number of right answers where `weight` is 1."""
        model = self._merge(params, model_state)
        model.eval()
        logits = model(self._standardise(x))
        right = (logits.argmax(-1) == y).astype(jnp.float32)
        return jnp.stack([_cross_entropy(logits, y) @ weight, right @ weight])

    def _means(
        self, params: nnx.State, model_state: nnx.State, x: np.ndarray, y: np.ndarray
    ) -> tuple[float, float]:
        """Mean loss and share of right answers over a whole set."""
        sums = [
            self._sums(params, model_state, *part) for part in _padded_batches(x, y)
        ]
        loss, right = np.asarray(jax.device_get(sums), np.float64).sum(axis=0)
        return float(loss) / len(x), float(right) / len(x)


def _states(model: nnx.Module) -> tuple[nnx.State, nnx.State]:
    """Parameters, and all else that the model holds: batch statistics."""
    _, params, model_state = cast(Any, nnx.split(model, nnx.Param, ...))
    return params, model_state


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _padded_batches(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Inputs, labels and weights; the last batch is padded with weight 0.

    All batches have one shape, so that evaluation is compiled once.
    """
    for start in range(0, len(x), _EVALUATION_BATCH):
        numbers = np.arange(start, start + _EVALUATION_BATCH)
        weight = (numbers < len(x)).astype(np.float32)
        numbers = np.minimum(numbers, len(x) - 1)
        yield x[numbers], y[numbers], weight
