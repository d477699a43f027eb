"""Problems whose constants are known in closed form, or whose answer a race knows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_diabetes, load_digits

from examples.common import text
from examples.common.softmax_regression import linear, linear_logits

_VOCABULARY = 201


class Problem(NamedTuple):
    """A loss of one example, its data, and what is known of it.

    Attributes:
        loss_fn: `(params, example) -> loss`.
        init: `key -> params`.
        data: arrays with a leading axis of examples.
        labels: classes, `(examples,)`, where there are any.
        batch_size: of training.
        known: names of the doctor's findings and their true values.
        regime: what the doctor should say of noise; empty where nobody knows.
    """

    loss_fn: Callable[[Any, Any], jax.Array]
    init: Callable[[jax.Array], Any]
    data: Any
    labels: Any = None
    batch_size: int = 64
    known: dict[str, float] = {}
    regime: str = ""


def least_squares(noise: float) -> Problem:
    """Linear regression of 1000 examples; the noise floor follows from its minimum."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 20)) * np.geomspace(1, 0.3, 20)
    y = x @ rng.standard_normal(20) + noise * rng.standard_normal(1000)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    residuals = x @ best - y
    floor = float(np.mean((x**2).sum(1) * residuals**2))

    def loss_fn(params: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        return 0.5 * (example[0] @ params - example[1]) ** 2

    data = (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    return Problem(
        loss_fn,
        lambda key: jnp.zeros(20),
        data,
        known={"noise floor": floor},
        regime="noise" if noise else "interpolation",
    )


def one_hot_quadratic(rho: int) -> Problem:
    """One coordinate an example: E |grad f_i|^2 = rho |grad f|^2 everywhere."""
    curvature = jnp.geomspace(0.1, 1.0, rho)

    def loss_fn(params: jax.Array, index: jax.Array) -> jax.Array:
        return 0.5 * curvature[index] * params[index] ** 2

    def init(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (rho,))

    known = {"strong growth": float(rho), "noise floor": 0.0}
    data = jnp.tile(jnp.arange(rho), 640 // rho)
    return Problem(
        loss_fn, init, data, batch_size=16, known=known, regime="interpolation"
    )


def _softmax_regression(x: Any, y: Any, **more: Any) -> Problem:
    """A linear classifier with a bias."""
    classes = int(np.max(y)) + 1
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)

    def loss_fn(params: Any, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        logits = linear_logits(params, example[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, example[1])

    def init(key: jax.Array) -> Any:
        return linear(x.shape[1], classes)

    return Problem(loss_fn, init, (x, y), labels=y, **more)


def _zipf_labels(exponent: float, classes: int, count: int, seed: int = 0) -> Any:
    """Labels whose counts follow the law exactly, up to rounding."""
    share = np.arange(1, classes + 1) ** -float(exponent)
    counts = np.maximum(np.round(count * share / share.sum()), 1).astype(int)
    labels = np.repeat(np.arange(classes), counts)
    return np.random.default_rng(seed).permutation(labels)


def mixture(exponent: float, spread: float, classes: int = 50) -> Problem:
    """Gaussian clusters in 20 dimensions under a linear classifier.

    With a `spread` of 2.5 they overlap; with 0.5 a plane separates each from the rest.
    """
    labels = _zipf_labels(exponent, classes, 3000)
    rng = np.random.default_rng(1)
    centres = 2 * rng.standard_normal((classes, 20))
    x = centres[labels] + spread * rng.standard_normal((len(labels), 20))
    return _softmax_regression(
        x,
        labels,
        known={"Zipf exponent": exponent},
        regime="interpolation" if spread < 1 else "noise",
    )


def digits(width: int, wrong: float = 0.0) -> Problem:
    """Digits under a ReLU network (linear if `width` is 0), some labels drawn anew."""
    x, y = load_digits(return_X_y=True)
    x, y = np.asarray(x), np.asarray(y)
    x = (x - x.mean()) / x.std()
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < wrong, rng.integers(10, size=len(y)), y)
    known = {"Zipf exponent": 0.0}
    regression = _softmax_regression(x, y, known=known, regime="noise" if wrong else "")
    if not width:
        return regression

    def loss_fn(params: Any, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        hidden = jax.nn.relu(example[0] @ params["in"] + params["b"])
        logits = hidden @ params["out"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, example[1])

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key)
        return {
            "in": jax.random.normal(keys[0], (64, width)) * (2 / 64) ** 0.5,
            "b": jnp.zeros(width),
            "out": jax.random.normal(keys[1], (width, 10)) / width**0.5,
        }

    return regression._replace(loss_fn=loss_fn, init=init, regime="interpolation")


def words() -> Problem:
    """Each next word of Python's help texts from the word before, 200 words."""
    rows = text.load(_VOCABULARY, 32).train
    pairs = np.stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()], 1)
    pairs = pairs[(pairs > 0).all(1)][::2] - 1
    first, second = (jnp.asarray(column, jnp.int32) for column in pairs.T)

    def loss_fn(params: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(
            params[example[0]], example[1]
        )

    def init(key: jax.Array) -> jax.Array:
        return jnp.zeros((_VOCABULARY - 1, _VOCABULARY - 1))

    data = (first, second)
    return Problem(loss_fn, init, data, second, batch_size=256, regime="noise")


def diabetes() -> Problem:
    """A linear model of a disease's progress: far from fitting it."""
    x, y = load_diabetes(return_X_y=True)
    x, y = np.asarray(x), np.asarray(y)
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    problem = least_squares(0.0)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    floor = float(np.mean((x**2).sum(1) * (x @ best - y) ** 2))
    data = (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    return problem._replace(
        init=lambda key: jnp.zeros(10),
        data=data,
        batch_size=32,
        known={"noise floor": floor},
        regime="noise",
    )


def teacher(width: int, noise: float) -> Problem:
    """Regression on a tanh network of 8 units, by one of `width` units."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((800, 8))
    y = np.tanh(x @ rng.standard_normal((8, 8))) @ rng.standard_normal(8) / 2
    y = y + noise * rng.standard_normal(800)

    def loss_fn(params: Any, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        hidden = jnp.tanh(example[0] @ params["in"] + params["b"])
        return 0.5 * (hidden @ params["out"] - example[1]) ** 2

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key)
        return {
            "in": jax.random.normal(keys[0], (8, width)) / 8**0.5,
            "b": jnp.zeros(width),
            "out": jax.random.normal(keys[1], (width,)) / width**0.5,
        }

    data = (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    return Problem(loss_fn, init, data, regime="noise" if noise else "interpolation")


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "least squares, no noise": lambda: least_squares(0.0),
    "least squares, noise 0.1": lambda: least_squares(0.1),
    "least squares, noise 1": lambda: least_squares(1.0),
    "one-hot quadratic, rho 10": lambda: one_hot_quadratic(10),
    "one-hot quadratic, rho 40": lambda: one_hot_quadratic(40),
    "separate clusters, balanced": lambda: mixture(0.0, 0.5),
    "separate clusters, Zipf 1": lambda: mixture(1.0, 0.5),
    "overlapping clusters, balanced": lambda: mixture(0.0, 2.5),
    "overlapping clusters, Zipf 1": lambda: mixture(1.0, 2.5),
    "overlapping clusters, Zipf 1.5": lambda: mixture(1.5, 2.5),
    "digits, ReLU network": lambda: digits(128),
    "digits, linear": lambda: digits(0),
    "digits, linear, 30 % wrong": lambda: digits(0, 0.3),
    "words": words,
    "diabetes, linear": diabetes,
    "tanh teacher, wide student": lambda: teacher(128, 0.0),
    "tanh teacher, narrow student": lambda: teacher(4, 0.3),
}
