"""Classification for the scripts about class frequencies: digits, and a full batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

_BITS = 10


class Classes(NamedTuple):
    """Inputs, `(examples, features)`, float32, and labels, int32."""

    x: np.ndarray
    y: np.ndarray

    def losses(self, logits_fn: Callable[..., jax.Array], params: Any) -> jax.Array:
        """Cross-entropy of every example; `logits_fn` is `(params, x) -> logits`."""
        logits = logits_fn(params, jnp.asarray(self.x))
        labels = jnp.asarray(self.y)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def digits() -> Classes:
    """The 1797 images of scikit-learn, 64 pixels in 0 to 1, ten classes alike."""
    x, y = load_digits(return_X_y=True)
    return Classes(np.asarray(x, np.float32) / 16, np.asarray(y, np.int32))


def barcoded_digits(rare: int = 300, each: int = 6, seed: int = 0) -> Classes:
    """The digits and as much again in rare classes, told by a barcode.

    Every image has ten more pixels: 0 in the ten classes of digits, the number of the
    class in binary in the others, whose images are digits at random.

    Args:
        rare: rare classes, fewer than 1024.
        each: examples of each of them.
        seed: for the images of the rare classes.
    """
    x, y = digits()
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(1, rare + 1), each)
    bars = ((codes[:, None] >> np.arange(_BITS)) & 1).astype(np.float32)
    images = x[rng.integers(len(x), size=len(codes))]
    blank = np.zeros((len(x), _BITS), np.float32)
    return Classes(
        np.concatenate([np.hstack([x, blank]), np.hstack([images, bars])]),
        np.concatenate([y, 9 + codes]).astype(np.int32),
    )


def mlp(features: int, hidden: int, classes: int, seed: int) -> dict[str, jax.Array]:
    """A network with one hidden layer of ReLUs, at He's random start."""
    one, two = jax.random.split(jax.random.key(seed))
    return {
        "w1": jax.random.normal(one, (features, hidden)) * np.sqrt(2 / features),
        "b1": jnp.zeros(hidden),
        "w2": jax.random.normal(two, (hidden, classes)) * np.sqrt(1 / hidden),
        "b2": jnp.zeros(classes),
    }


def mlp_logits(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Logits of `mlp`."""
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
