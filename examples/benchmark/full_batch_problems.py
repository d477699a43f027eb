"""Losses that are the same at every step, with their data as arguments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits


class Problem(NamedTuple):
    """``loss(w, *data)`` from ``start``; ``by_hand`` is its value and gradient in
    NumPy, where that is short."""

    loss: Callable[..., Any]
    start: np.ndarray
    data: tuple[np.ndarray, ...] = ()
    by_hand: Callable[..., Any] | None = None


def _logistic(features: np.ndarray, labels: np.ndarray, l2: float) -> Problem:
    """The mean loss of signed rows; the column of ones is penalised too."""
    x = np.c_[features, np.ones(len(features))]
    signed = x * (2.0 * labels - 1)[:, None]

    def loss(w, signed):
        return jnp.mean(jnp.logaddexp(0, -signed @ w)) + 0.5 * l2 * w @ w

    def by_hand(w, signed):
        margins = signed @ w
        value = np.mean(np.logaddexp(0, -margins)) + 0.5 * l2 * w @ w
        shares = -1 / (1 + np.exp(np.minimum(margins, 700)))
        return value, signed.T @ shares / len(signed) + l2 * w

    return Problem(loss, np.zeros(x.shape[1]), (signed,), by_hand)


def wide_logistic(num_rows: int, num_columns: int) -> Problem:
    """Columns of falling size, and labels drawn from the model."""
    rng = np.random.default_rng(0)
    scales = np.geomspace(1, 0.1, num_columns - 1)
    features = rng.standard_normal((num_rows, num_columns - 1)) * scales
    logits = features @ rng.standard_normal(num_columns - 1)
    labels = rng.random(num_rows) < 1 / (1 + np.exp(-logits))
    return _logistic(features, labels, 1e-4)


def _rosenbrock(size: int) -> Problem:
    start = np.ones(size)
    start[::2] = -1.2

    def loss(w):
        return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)

    return Problem(loss, start)


def _network() -> Problem:
    """Eight hidden units on 64 points of four coordinates."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4))
    y = np.sin(x @ rng.standard_normal(4))

    def loss(w, x, y):
        hidden = jnp.tanh(x @ w[:32].reshape(4, 8) + w[32:40])
        return jnp.mean((hidden @ w[40:] - y) ** 2) + 1e-3 * w @ w

    return Problem(loss, 0.5 * rng.standard_normal(48), (x, y))


def problems() -> dict[str, Problem]:
    """Those whose evaluations are counted."""
    features, labels = load_breast_cancer(return_X_y=True)
    scaled = (features - features.mean(0)) / features.std(0)
    pixels, numbers = load_digits(return_X_y=True)
    return {
        "breast cancer": _logistic(scaled, labels, 1e-3),
        "digits, odd or even": _logistic(pixels / 16, numbers % 2, 1 / len(numbers)),
        "Rosenbrock, 2": _rosenbrock(2),
        "Rosenbrock, 10": _rosenbrock(10),
        "Rosenbrock, 100": _rosenbrock(100),
        "network": _network(),
    }
