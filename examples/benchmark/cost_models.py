"""Four small models in plain JAX, each with a loss and one fixed batch."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_IMAGE = (16, 16)
_CHANNELS = (32, 64)
_CLASSES = 10
_VOCABULARY, _WIDTH, HEADS, _BLOCKS = 256, 64, 4, 2


class Task(NamedTuple):
    """What a step is timed on.

    Attributes:
        name: of the model.
        loss: (params, batch) -> mean loss, a scalar.
        init: random key -> params.
        batch: inputs and targets; the same at every step.
    """

    name: str
    loss: Callable[[Any, Any], jax.Array]
    init: Callable[[jax.Array], Any]
    batch: tuple[jax.Array, jax.Array]

    def params(self) -> Any:
        """The params that every contender starts from, in buffers of their own."""
        return self.init(jax.random.key(0))


def _cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - chosen)


def _weights(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """He's normal initial values: the last axis is that of the outputs."""
    scale = math.sqrt(2 / math.prod(shape[:-1]))
    return scale * jax.random.normal(key, shape)


def _batch(shape: Sequence[int], number: int) -> tuple[jax.Array, jax.Array]:
    inputs, targets = jax.random.split(jax.random.key(1))
    x = jax.random.normal(inputs, (number, *shape))
    return x, jax.random.randint(targets, (number,), 0, _CLASSES)


def dense(name: str, widths: Sequence[int], number: int) -> Task:
    """Softmax regression (two widths) or an MLP; `number` examples in the batch."""

    def init(key: jax.Array) -> Any:
        shapes = list(zip(widths[:-1], widths[1:], strict=True))
        keys = jax.random.split(key, len(shapes))
        return [
            {"weights": _weights(k, shape), "bias": jnp.zeros(shape[1])}
            for k, shape in zip(keys, shapes, strict=True)
        ]

    def loss(params: Any, batch: Any) -> jax.Array:
        x, targets = batch
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["weights"] + layer["bias"])
        return _cross_entropy(x @ params[-1]["weights"] + params[-1]["bias"], targets)

    return Task(name, loss, init, _batch(widths[:1], number))


def cnn(name: str, number: int) -> Task:
    """Two convolutions, each with pooling, and a layer of logits."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, 3)
        pixels = math.prod(_IMAGE) // 16
        return {
            "conv_1": _weights(keys[0], (3, 3, 3, _CHANNELS[0])),
            "conv_2": _weights(keys[1], (3, 3, *_CHANNELS)),
            "logits": _weights(keys[2], (pixels * _CHANNELS[1], _CLASSES)),
        }

    def block(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        window = (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        return jax.nn.relu(x)

    def loss(params: Any, batch: Any) -> jax.Array:
        x, targets = batch
        x = block(block(x, params["conv_1"]), params["conv_2"])
        return _cross_entropy(x.reshape(len(x), -1) @ params["logits"], targets)

    return Task(name, loss, init, _batch((*_IMAGE, 3), number))


def _normalise(x: jax.Array) -> jax.Array:
    return jax.nn.standardize(x, axis=-1, epsilon=1e-5)


def _attend(x: jax.Array, block: Any) -> jax.Array:
    rows, length, width = x.shape
    shape = (rows, length, 3, HEADS, width // HEADS)
    parts = (x @ block["qkv"]).reshape(shape)
    query, key, value = (parts[:, :, place] for place in range(3))
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return mixed.reshape(rows, length, width) @ block["out"]


def transformer(name: str, number: int, length: int) -> Task:
    """Predicts the next of 256 tokens from those before it; `number` rows."""

    def block(key: jax.Array) -> Any:
        keys = jax.random.split(key, 4)
        return {
            "qkv": _weights(keys[0], (_WIDTH, 3 * _WIDTH)),
            "out": _weights(keys[1], (_WIDTH, _WIDTH)),
            "hidden": _weights(keys[2], (_WIDTH, 4 * _WIDTH)),
            "back": _weights(keys[3], (4 * _WIDTH, _WIDTH)),
        }

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, _BLOCKS + 3)
        return {
            "tokens": _weights(keys[0], (_VOCABULARY, _WIDTH)),
            "places": _weights(keys[1], (length, _WIDTH)),
            "logits": _weights(keys[2], (_WIDTH, _VOCABULARY)),
            "blocks": [block(k) for k in keys[3:]],
        }

    def loss(params: Any, batch: Any) -> jax.Array:
        tokens, targets = batch
        x = params["tokens"][tokens] + params["places"]
        for block in params["blocks"]:
            x = x + _attend(_normalise(x), block)
            x = x + jax.nn.gelu(_normalise(x) @ block["hidden"]) @ block["back"]
        return _cross_entropy(_normalise(x) @ params["logits"], targets)

    words = jax.random.randint(jax.random.key(1), (number, length + 1), 0, _VOCABULARY)
    return Task(name, loss, init, (words[:, :-1], words[:, 1:]))


def _all(
    inputs: int, hidden: int, rows: int, images: int, texts: int, length: int
) -> dict[str, Task]:
    chosen = [
        dense("softmax", (inputs, _CLASSES), rows),
        dense("MLP", (inputs, hidden, hidden, _CLASSES), rows),
        cnn("CNN", images),
        transformer("transformer", texts, length),
    ]
    return {task.name: task for task in chosen}


def tasks() -> dict[str, Task]:
    """The models of the benchmark, from the smallest step to the longest."""
    return _all(inputs=64, hidden=512, rows=128, images=32, texts=16, length=32)


def tiny_tasks() -> dict[str, Task]:
    """The same kinds of model, small enough to compile and run in a moment."""
    return _all(inputs=8, hidden=32, rows=8, images=2, texts=2, length=8)
