"""Image classification as a `Task`: a data set and a model."""

import itertools

import grain
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from examples.training import batching, models, processes
from examples.training.data import Dataset
from examples.training.network import Network
from examples.training.task import Case

ACCURACY = "test accuracy (%)"

# After so many batches a running mean has forgotten 99 % of what it started from.
_STATISTICS_BATCHES = 50


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
        shape = dataset.x_train.shape[1:]
        models.check(model, shape)
        num_examples = len(dataset.x_train)
        self.name = f"{name}, {model}"
        self.fingerprint = dataset.fingerprint()
        self.steps_per_epoch = batching.steps_per_epoch(num_examples, batch_size, name)
        self._train = {"x": dataset.x_train, "y": dataset.y_train}
        self._test = {"x": dataset.x_test, "y": dataset.y_test}
        self._batch_size = batch_size
        self._mean, self._deviation = dataset.statistics()
        make = models.MODELS[model]
        self._network = Network(lambda rngs: make(shape, dataset.num_classes, rngs))
        self._sums = jax.jit(self._sums_of_batch, out_shardings=processes.replicated())
        self._statistics = jax.jit(
            self._statistics_of_batch, out_shardings=processes.replicated()
        )

    def init(self, key: jax.Array) -> tuple[nnx.State, nnx.State]:
        """Fresh parameters and batch statistics."""
        return self._network.init(key)

    def loss_fn(
        self,
        params: nnx.State,
        model_state: nnx.State,
        batch: dict[str, jax.Array],
        key: jax.Array,
    ) -> tuple[jax.Array, nnx.State]:
        """Mean cross-entropy of a batch; the key is unused, as nothing drops out."""
        del key
        model = self._network.merge(params, model_state)
        model.train()
        losses = _cross_entropy(model(self._standardise(batch["x"])), batch["y"])
        return losses.mean(), self._network.split(model)[1]

    def model_state_at(self, params: nnx.State, model_state: nnx.State) -> nnx.State:
        """The running statistics of batch norm after training batches, always the same.

        An average of params has other activations than the params had.
        """
        if not jax.tree.leaves(model_state):
            return model_state
        epochs = -(-_STATISTICS_BATCHES // self.steps_per_epoch)
        batches = self.batches(0, epochs)
        for batch in itertools.islice(batches, _STATISTICS_BATCHES):
            batch = processes.whole_batch(batch)
            model_state = self._statistics(params, model_state, batch)
        return model_state

    def evaluate(self, params: nnx.State, model_state: nnx.State) -> dict[str, float]:
        """Accuracy on the full test set."""
        return {ACCURACY: 100 * self._means(params, model_state, self._test)[1]}

    def train_loss(self, params: nnx.State, model_state: nnx.State) -> float:
        """Mean cross-entropy over the full training set."""
        return self._means(params, model_state, self._train)[0]

    def batches(self, seed: int, epochs: int) -> grain.DatasetIterator:
        """Batches of a new order every epoch, an incomplete last one left out."""
        return batching.shuffled(self._train, self._batch_size, seed, epochs)

    def case(self, model_state: nnx.State) -> Case:
        """One image, its label; batch norm with the statistics of `model_state`."""

        def loss_fn(params: nnx.State, example: dict[str, jax.Array]) -> jax.Array:
            model = self._network.merge(params, model_state)
            model.eval()
            logits = model(self._standardise(example["x"][None]))
            return _cross_entropy(logits, example["y"][None])[0]

        return Case(loss_fn, self._train, self._train["y"])

    def _standardise(self, x: jax.Array) -> jax.Array:
        return (x.astype(jnp.float32) - self._mean) / self._deviation

    def _sums_of_batch(self, params, model_state, batch, weight) -> jax.Array:
        """Summed loss, right answers and examples where `weight` is 1."""
        model = self._network.merge(params, model_state)
        model.eval()
        logits = model(self._standardise(batch["x"]))
        right = (logits.argmax(-1) == batch["y"]).astype(jnp.float32)
        losses = _cross_entropy(logits, batch["y"])
        return jnp.stack([losses @ weight, right @ weight, weight.sum()])

    def _statistics_of_batch(self, params, model_state, batch) -> nnx.State:
        """The model state after a forward pass in training mode."""
        return self.loss_fn(params, model_state, batch, jax.random.key(0))[1]

    def _means(
        self, params: nnx.State, model_state: nnx.State, part: batching.Arrays
    ) -> tuple[float, float]:
        """Mean loss and share of right answers over a whole part of the data."""
        loss, right, count = batching.total(
            lambda *batch: self._sums(params, model_state, *batch), part
        )
        return float(loss / count), float(right / count)


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
