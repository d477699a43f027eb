"""Networks on the digits of scikit-learn."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from examples.benchmark import arrays, networks
from examples.benchmark.arrays import Split
from examples.benchmark.networks import MLP
from examples.benchmark.task import (
    Pointwise,
    Problem,
    Task,
    Variables,
    classify,
    entropy,
    regress,
)


def huber(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Huber's loss with the kink at 1."""
    return jnp.mean(optax.huber_loss(outputs, targets), -1)


class WithStatistics(Problem):
    """Cross-entropy of a network with batch norm and dropout."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Random params, and the statistics of no batch."""
        return self.model.init(key, x[:1], train=False)

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """With running statistics and without dropout."""
        logits: Any = self.model.apply(variables, x, train=False)
        return jnp.mean(entropy(logits, y))

    def loss(
        self, variables: Variables, x: jax.Array, y: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """With the statistics of this batch and with dropout."""
        logits, changed = self.model.apply(
            variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return jnp.mean(entropy(logits, y)), dict(changed)


class FineTuned(Pointwise):
    """A network that was trained on other classes; its last layer begins anew.

    Args:
        model: a linen module, whose last layer is `Dense_2`.
        x: inputs of the other classes.
        y: their labels.
    """

    def __init__(self, model: nn.Module, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__(model, entropy)
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Params after 300 steps of Adam, the last layer random."""
        first, drawn = jax.random.split(key)
        fresh = super().init(first, x)
        optimizer = optax.adam(1e-3)

        def step(carry: Any, rows: jax.Array) -> tuple[Any, None]:
            variables, state = carry
            gradient = jax.grad(self.mean_loss)(variables, self.x[rows], self.y[rows])
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(variables, updates), state), None

        rows = jax.random.randint(drawn, (300, 32), 0, len(self.x))
        (trained, _), _ = jax.lax.scan(step, (fresh, optimizer.init(fresh)), rows)
        last = {"Dense_2": fresh["params"]["Dense_2"]}
        return {"params": {**trained["params"], **last}}


def fine_tuning() -> Task:
    """Digits 5 to 9, from a network trained on 0 to 4."""
    split = arrays.flat_digits()
    new, later = split.y_train > 4, split.y_valid > 4
    network = MLP((64, 64, 5))
    problem = FineTuned(network, split.x_train[~new], split.y_train[~new])
    rows = Split(
        split.x_train[new], split.y_train[new] - 5,
        split.x_valid[later], split.y_valid[later] - 5,
    )  # fmt: skip
    return Task("fine_tuning", problem, rows, "images", batch_size=32, num_steps=600)


def _classified() -> dict[str, Callable[[], Task]]:
    flat, rows = arrays.flat_digits, arrays.row_digits

    def noisy() -> Split:
        return arrays.with_label_noise(flat(), 0.2)

    return {
        "digits_mlp": lambda: classify(
            "digits_mlp", "images", MLP((64, 64, 10)), flat(), held_out=True
        ),
        "digits_small_mlp": lambda: classify(
            "digits_small_mlp", "images", MLP((16, 10)), flat()
        ),
        "digits_cnn": lambda: classify(
            "digits_cnn", "images", networks.CNN(10), arrays.image_digits(), lanes=1,
            num_steps=400,
        ),
        "digits_mixer": lambda: classify(
            "digits_mixer", "images", networks.Mixer(10, blocks=1), rows(),
            held_out=True, num_steps=400,
        ),
        "digits_attention": lambda: classify(
            "digits_attention", "images", networks.ImageAttention(10), rows(),
            num_steps=400,
        ),
        "digits_gru": lambda: classify(
            "digits_gru", "images", networks.ImageGRU(10), rows(), held_out=True,
            num_steps=600,
        ),
        "digits_label_noise": lambda: classify(
            "digits_label_noise", "images", MLP((64, 10)), noisy()
        ),
        "digits_heavy_tail": lambda: classify(
            "digits_heavy_tail", "images", MLP((64, 10)), arrays.heavy_tailed(flat()),
            held_out=True,
        ),
        "digits_sigmoid": lambda: classify(
            "digits_sigmoid", "images", MLP((64, 64, 10), nn.sigmoid), flat(),
            held_out=True,
        ),
        "digits_normed": lambda: classify(
            "digits_normed", "images", networks.Normed(32, 6, 10), flat(),
            batch_size=32,
        ),
    }  # fmt: skip


def _others() -> dict[str, Callable[[], Task]]:
    flat = arrays.flat_digits
    return {
        "digits_autoencoder": lambda: regress(
            "digits_autoencoder", "images", MLP((64, 16, 64, 64), jnp.tanh),
            arrays.reconstruct(flat()),
        ),
        "digits_values": lambda: regress(
            "digits_values", "images", MLP((64, 64, 1)), arrays.digit_values(), huber
        ),
        "batch_norm_dropout": lambda: Task(
            "batch_norm_dropout", WithStatistics(networks.BatchNormed(64, 10)), flat(),
            "images",
        ),
        "fine_tuning": fine_tuning,
    }  # fmt: skip


TASKS = {**_classified(), **_others()}
