"""The tasks of the benchmark: small, real where data ships with a library, seeded.

Every second task was `held_out` while `optaxls.auto` was chosen: only the others were
looked at for that, until its brake was changed with all of them in view. `new_tasks`
came after that.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from examples.benchmark import arrays, networks
from examples.benchmark.arrays import Split
from examples.common.shuffling import epochs_of

Loss = Callable[[jax.Array, jax.Array], jax.Array]


class Task(NamedTuple):
    """A model, its data and how long to train.

    Attributes:
        name: as on the command line.
        model: a linen module, inputs to predictions.
        split: training and test arrays.
        loss: `(predictions, targets) -> loss of each example`.
        score: `(predictions, targets, training targets) -> test metric`, higher is
            better.
        batch_size: examples in a step.
        num_steps: gradient steps that the budget pays for.
        held_out: not looked at while `auto` was chosen.
        lanes: runs that are trained at once; a convolution is slow when batched.
    """

    name: str
    model: nn.Module
    split: Split
    loss: Loss
    score: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    batch_size: int = 64
    num_steps: int = 1000
    held_out: bool = False
    lanes: int = 33

    def init(self, key: jax.Array) -> Any:
        """Random params."""
        return self.model.init(key, self.split.x_train[:1])

    def mean_loss(self, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean loss over the examples given."""
        predictions = self.model.apply(params, x)
        return jnp.mean(self.loss(predictions, y))  # pyright: ignore

    def test_score(self, params: Any) -> jax.Array:
        """The test metric."""
        predictions = self.model.apply(params, self.split.x_test)
        return self.score(predictions, self.split.y_test, self.split.y_train)  # pyright: ignore

    def batches(self, seed: int) -> np.ndarray:
        """Row numbers `(num_steps, batch_size)`, epoch by epoch, none twice in one."""
        rows = len(self.split.x_train)
        epochs = -(-self.num_steps // (rows // self.batch_size))
        return epochs_of(rows, self.batch_size, epochs, seed)[: self.num_steps]


def accuracy(
    logits: jax.Array, labels: jax.Array, train_labels: jax.Array
) -> jax.Array:
    """The share of right answers."""
    del train_labels
    return jnp.mean(jnp.argmax(logits, -1) == labels)


def explained(outputs: jax.Array, targets: jax.Array, train: jax.Array) -> jax.Array:
    """R^2: the share of variance around the training mean that is explained."""
    variance = jnp.mean((targets - train.mean(0)) ** 2)
    return 1 - jnp.mean((outputs - targets) ** 2) / variance


def squared(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Half the mean squared error of each example."""
    return 0.5 * jnp.mean((outputs - targets) ** 2, -1)


entropy = optax.softmax_cross_entropy_with_integer_labels


def classify(name: str, model: nn.Module, split: Split, **settings: Any) -> Task:
    """A task with softmax cross-entropy and labels."""
    return Task(name, model, split, entropy, accuracy, **settings)


def regress(
    name: str, model: nn.Module, split: Split, loss: Loss = squared, **settings: Any
) -> Task:
    """A task with vectors as targets, scored by R^2."""
    return Task(name, model, split, loss, explained, **settings)


def _images() -> dict[str, Callable[[], Task]]:
    flat, rows = arrays.flat_digits, arrays.row_digits

    def noisy() -> Split:
        return arrays.with_label_noise(flat(), 0.2)

    return {
        "digits_mlp": lambda: classify(
            "digits_mlp", networks.MLP((64, 64, 10)), flat(), held_out=True
        ),
        "digits_small_mlp": lambda: classify(
            "digits_small_mlp", networks.MLP((16, 10)), flat()
        ),
        "digits_cnn": lambda: classify(
            "digits_cnn", networks.CNN(10), arrays.image_digits(), lanes=1,
            num_steps=400,
        ),
        "digits_mixer": lambda: classify(
            "digits_mixer", networks.Mixer(10, blocks=1), rows(), held_out=True,
            num_steps=400,
        ),
        "digits_attention": lambda: classify(
            "digits_attention", networks.ImageAttention(10), rows(), num_steps=400
        ),
        "digits_gru": lambda: classify(
            "digits_gru", networks.ImageGRU(10), rows(), held_out=True, num_steps=600
        ),
        "digits_label_noise": lambda: classify(
            "digits_label_noise", networks.MLP((64, 10)), noisy()
        ),
        "digits_heavy_tail": lambda: classify(
            "digits_heavy_tail", networks.MLP((64, 10)), arrays.heavy_tailed(flat()),
            held_out=True,
        ),
        "digits_autoencoder": lambda: regress(
            "digits_autoencoder", networks.MLP((64, 16, 64, 64), jnp.tanh),
            arrays.reconstruct(flat()),
        ),
    }  # fmt: skip


def _text() -> dict[str, Callable[[], Task]]:
    size = 100

    return {
        "text_transformer": lambda: classify(
            "text_transformer", networks.TextAttention(size), arrays.text(size, 12),
            batch_size=16, num_steps=400, held_out=True,
        ),
    }  # fmt: skip


def _vectors() -> dict[str, Callable[[], Task]]:
    linear = networks.MLP((1,))
    return {
        "cancer_mlp": lambda: classify(
            "cancer_mlp", networks.MLP((32, 32, 2)), arrays.cancer(), batch_size=16
        ),
        "wine_small_batch": lambda: classify(
            "wine_small_batch", networks.MLP((32, 3)), arrays.wine(), batch_size=4,
            held_out=True,
        ),
        "cancer_kernel": lambda: classify(
            "cancer_kernel", networks.MLP((2,)), arrays.kernel(arrays.cancer()),
            held_out=True,
        ),
        "diabetes": lambda: regress(
            "diabetes", networks.MLP((64, 64, 1)), arrays.diabetes(), batch_size=32
        ),
        "deep_linear": lambda: regress(
            "deep_linear", networks.DeepLinear((10, 10, 10)), arrays.linear_map(),
        ),
        "teacher": lambda: regress(
            "teacher", networks.MLP((64, 64, 1), jnp.tanh), arrays.teacher(0.0),
            held_out=True,
        ),
        "teacher_noise": lambda: regress(
            "teacher_noise", networks.MLP((64, 64, 1), jnp.tanh), arrays.teacher(0.3),
        ),
        "least_squares": lambda: regress(
            "least_squares", linear, arrays.least_squares(0.0)
        ),
        "least_squares_noise": lambda: regress(
            "least_squares_noise", linear, arrays.least_squares(0.5), held_out=True,
        ),
        "zipf_softmax": lambda: classify(
            "zipf_softmax", networks.MLP((50,)), arrays.zipf_classes(), held_out=True
        ),
    }  # fmt: skip


TASKS: dict[str, Callable[[], Task]] = {**_images(), **_text(), **_vectors()}
QUICK = ("digits_small_mlp", "cancer_kernel", "least_squares_noise")
