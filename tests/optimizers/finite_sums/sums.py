"""Finite sums with known answers, loops over them, and the methods in plain NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optaxls

METHODS = {"sag": optaxls.sag, "saga": optaxls.saga, "svrg": optaxls.svrg}
N, D = 8, 3
_rng = np.random.default_rng(0)
ROWS = _rng.normal(size=(N, D)) + 0.5
TARGETS = ROWS @ np.array([1.0, -2.0, 0.5]) + 0.3 * _rng.normal(size=N)
# The largest smoothness of the functions.
LARGEST = float(np.max(np.sum(ROWS**2, axis=1)))


def example_loss(w: Any, index: Any, *rest: Any) -> Any:
    """Half the squared error of one example."""
    del rest
    rows, targets = jnp.asarray(ROWS, w.dtype), jnp.asarray(TARGETS, w.dtype)
    return 0.5 * (rows[index] @ w - targets[index]) ** 2


def full_grad(w: Any, weights: Any = None) -> Any:
    """The gradient of the mean loss, without penalties."""
    rows, targets = jnp.asarray(ROWS, w.dtype), jnp.asarray(TARGETS, w.dtype)
    weights = jnp.ones(N, w.dtype) if weights is None else jnp.asarray(weights, w.dtype)
    return rows.T @ (weights * (rows @ w - targets)) / jnp.sum(weights)


def solution(l2: float = 0.0, weights: Any = None, keep: Any = slice(None)) -> Any:
    """The minimum of the weighted mean loss plus ``l2 / 2 * ||w||^2``."""
    weights = (np.ones(N) if weights is None else np.asarray(weights))[keep]
    rows, targets, total = ROWS[keep], TARGETS[keep], weights.sum()
    hessian = rows.T @ (weights[:, None] * rows) / total + l2 * np.eye(D)
    return np.linalg.solve(hessian, rows.T @ (weights * targets) / total)


def order(num_steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, N, num_steps)


def with_index(w: Any, index: Any, *full: Any) -> dict[str, Any]:
    given = {"index": index}
    return given | ({"snapshot_grad": full[0]} if full else {})


def trained(optimizer, w, indices, loss=example_loss, weights=None, state=None):
    """A scan over ``indices``; all params on the way, and the last state."""
    step = optaxls.make_step(loss, optimizer, extra=with_index)
    state = optimizer.init(w) if state is None else state

    def body(carry, index):
        w, state = carry
        # The gradient of the whole sum costs nothing here.
        result = step(w, state, index, full_grad(w, weights))
        return (result.params, result.opt_state), (result.params, result.metrics)

    run = jax.jit(lambda carry, indices: jax.lax.scan(body, carry, indices))
    (_, state), (path, reports) = run((w, state), jnp.asarray(indices))
    return path, state, reports


class Oracle:
    """SAG, SAGA and SVRG on these examples, written from the formulas."""

    def __init__(self, method, lipschitz, l2=0.0, weights=None, period=N):
        self.method, self.l2, self.period = method, l2, period
        weights = np.ones(N) if weights is None else np.asarray(weights, float)
        self.weights = weights / weights.mean()
        self.searches = lipschitz is None
        self.smoothness = 1.0 if self.searches else lipschitz
        self.table, self.seen = np.zeros((N, D)), np.zeros(N, bool)
        self.snapshot, self.age = np.zeros(D), period
        self.w = np.zeros(D)

    def gradient(self, i, w):
        return self.weights[i] * (ROWS[i] @ w - TARGETS[i]) * ROWS[i]

    def loss(self, i, w):
        return 0.5 * self.weights[i] * (ROWS[i] @ w - TARGETS[i]) ** 2

    def search(self, i, g):
        """Halved a little in each step, doubled while the promise is not kept."""
        smoothness = self.smoothness * 2 ** (-1 / N)
        while self.loss(i, self.w - g / smoothness) > self.loss(i, self.w) - g @ g / (
            2 * smoothness
        ):
            smoothness *= 2
        self.smoothness = smoothness

    def estimate(self, i, g):
        if self.method == "svrg":
            if self.age >= self.period:
                self.snapshot, self.age = self.w.copy(), 0
            self.age += 1
            full = np.mean([self.gradient(j, self.snapshot) for j in range(N)], axis=0)
            return g - self.gradient(i, self.snapshot) + full
        old, knew, mean = self.table[i].copy(), self.seen[i], self.table.sum(axis=0)
        self.table[i], self.seen[i] = g, True
        seen = self.weights[self.seen].sum()
        if self.method == "saga" and knew:
            return g - old + mean / seen
        return self.table.sum(axis=0) / seen

    def step(self, i):
        g = self.gradient(i, self.w)
        if self.searches:
            self.search(i, g)
        step_size = (
            1 / self.smoothness if self.method == "sag" else 1 / (3 * self.smoothness)
        )
        ahead = self.w - step_size * self.estimate(i, g)
        self.w = ahead / (1 + step_size * self.l2)
        return self.w
