"""Tasks that learn a vector for each of many things, or for each image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from examples.benchmark import arrays
from examples.benchmark.arrays import Split
from examples.benchmark.networks import MLP, Factors, Taste
from examples.benchmark.task import Problem, Task, Variables, regress


def logistic(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of yes or no."""
    return optax.sigmoid_binary_cross_entropy(logits, labels)


def likes() -> Split:
    """Whether a user likes an item: 2,000 users, 1,000 items, some far more frequent.

    Who likes what has 3 hidden dimensions; a batch holds 3 % of the users.
    """
    rng = np.random.default_rng(0)
    users, items, number = 2000, 1000, 84_000
    share = 1 / np.sqrt(1 + np.arange(items))
    x = np.stack(
        [
            rng.integers(users, size=number),
            rng.choice(items, number, p=share / share.sum()),
        ],
        1,
    )
    taste, kind = rng.standard_normal((users, 3)), rng.standard_normal((items, 3))
    logits = np.sum(taste[x[:, 0]] * kind[x[:, 1]], 1) + kind[x[:, 1], 0]
    y = (rng.random(number) < 1 / (1 + np.exp(-2 * logits))).astype(np.int32)
    train = number * 20 // 21
    x = x.astype(np.int32)
    return Split(x[:train], y[:train], x[train:], y[train:])


class Contrastive(Problem):
    """Two noisy views of an image find each other among those of a batch.

    Args:
        model: images to vectors.
        batch_size: rows that meet each other, in evaluation too.
    """

    def __init__(self, model: nn.Module, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Random params."""
        return self.model.init(key, x[:1])

    def loss(
        self, variables: Variables, x: jax.Array, y: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Cross-entropy of each view's own other view."""
        del y
        views = x + 0.7 * jax.random.normal(key, (2, *x.shape))
        vectors: Any = self.model.apply(variables, views)
        norms = jnp.sqrt(jnp.sum(vectors**2, -1, keepdims=True) + 1e-8)
        first, second = vectors / norms
        own = jnp.arange(len(x))
        each = optax.softmax_cross_entropy_with_integer_labels
        logits = 5 * first @ second.T
        return jnp.mean(each(logits, own) + each(logits.T, own)) / 2, {}

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """In batches of the same size, with noise that is always the same."""
        number = len(x) // self.batch_size
        batches = x[: number * self.batch_size].reshape(number, self.batch_size, -1)
        keys = jax.random.split(jax.random.key(0), number)
        losses = jax.vmap(lambda b, k: self.loss(variables, b, y, k)[0])(batches, keys)
        return jnp.mean(losses)


TASKS: dict[str, Callable[[], Task]] = {
    "matrix_factors": lambda: regress(
        "matrix_factors", "embeddings", Factors((80, 60), 4), arrays.ratings(),
        held_out=True,
    ),
    "recommender": lambda: regress(
        "recommender", "embeddings", Taste((2000, 1000), 8), likes(), logistic,
        held_out=True, num_steps=1500,
    ),
    "contrastive": lambda: Task(
        "contrastive", Contrastive(MLP((128, 32)), 64), arrays.flat_digits(),
        "embeddings", num_steps=800,
    ),
}  # fmt: skip
