"""Likelihoods that may be negative, and a differential equation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.scipy.linalg import cho_solve, solve_triangular

from examples.benchmark import arrays
from examples.benchmark.arrays import Split
from examples.benchmark.networks import MLP, Flow
from examples.benchmark.task import Problem, Task, Variables, regress

_LOG_TURN = float(np.log(2 * np.pi))


def learned_variance(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Negative log-likelihood of a normal law with a mean and a log-variance."""
    mean, log_variance = outputs[:, 0], outputs[:, 1]
    squares = (targets[:, 0] - mean) ** 2 * jnp.exp(-log_variance)
    return 0.5 * (_LOG_TURN + log_variance + squares)


def negative(log_densities: jax.Array, targets: jax.Array) -> jax.Array:
    """Negative log-likelihood of points; there are no targets."""
    del targets
    return -log_densities


def moons() -> Split:
    """Two half circles, each around the end of the other; no targets."""
    rng = np.random.default_rng(0)
    angle, upper = np.pi * rng.random(10_000), np.arange(10_000) % 2
    side = 1 - 2 * upper
    x = np.stack([upper + side * np.cos(angle), side * np.sin(angle) + 0.5 * upper], 1)
    x = (x - [0.5, 0.25] + 0.05 * rng.standard_normal(x.shape)).astype(np.float32)
    none = np.zeros(len(x), np.float32)
    return Split(x[:8000], none[:8000], x[8000:], none[8000:])


def waves() -> Split:
    """A smooth function of two features at 120 points, nearly without noise.

    So the best params are close to those where the likelihood is NaN in float32.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (220, 2))
    y = np.sin(4 * x[:, 0]) * np.cos(2 * x[:, 1]) + 0.001 * rng.standard_normal(220)
    x, y = x.astype(np.float32), y.astype(np.float32)
    return Split(x[:120], y[:120], x[120:], y[120:])


class Process(Problem):
    """The marginal likelihood of a Gaussian process, by Cholesky.

    It is NaN where the matrix is not positive definite in float32. Validation is the
    predictive density of new points.

    Args:
        split: rows; the predictions need the training rows.
    """

    def __init__(self, split: Split) -> None:
        self.x, self.y = jnp.asarray(split.x_train), jnp.asarray(split.y_train)

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Logarithms of the scales of features, of the signal and of the noise."""
        start = {
            "scales": 0.3 * jax.random.normal(key, x.shape[-1:]),
            "signal": jnp.float32(0),
            "noise": jnp.float32(-1),
        }
        return {"params": start}

    def _covariance(
        self, variables: Variables, x: jax.Array, other: jax.Array
    ) -> jax.Array:
        params = variables["params"]
        away = (x[:, None] - other) / jnp.exp(params["scales"])
        return jnp.exp(2 * params["signal"] - 0.5 * jnp.sum(away**2, -1))

    def _factor(self, variables: Variables, x: jax.Array) -> jax.Array:
        noise = jnp.exp(2 * variables["params"]["noise"])
        matrix = self._covariance(variables, x, x) + noise * jnp.eye(len(x))
        return jnp.linalg.cholesky(matrix)

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """Negative log marginal likelihood of these rows, for each of them."""
        factor = self._factor(variables, x)
        squares = jnp.sum(solve_triangular(factor, y, lower=True) ** 2)
        logs = jnp.sum(jnp.log(jnp.diag(factor)))
        return (0.5 * squares + logs) / len(x) + 0.5 * _LOG_TURN

    def valid_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """Negative log-density of each new point, given the training rows."""
        factor = self._factor(variables, self.x)
        cross = self._covariance(variables, x, self.x)
        mean = cross @ cho_solve((factor, True), self.y)
        solved = solve_triangular(factor, cross.T, lower=True)
        params = variables["params"]
        prior = jnp.exp(2 * params["signal"]) + jnp.exp(2 * params["noise"])
        variance = prior - jnp.sum(solved**2, 0)
        squares = (y - mean) ** 2 / variance
        return jnp.mean(0.5 * (_LOG_TURN + jnp.log(variance) + squares))


def _solution(x: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * x) + 0.2 * np.sin(4 * np.pi * x)


def points() -> Split:
    """Places from 0 to 1; the second derivative of the solution, then the solution."""
    rng = np.random.default_rng(0)
    x = rng.random((10_500, 1))
    curved = -(np.pi**2) * np.sin(np.pi * x)
    curved = curved - 0.2 * (4 * np.pi) ** 2 * np.sin(4 * np.pi * x)
    y = np.concatenate([curved, _solution(x)], 1)
    x, y = x.astype(np.float32), y.astype(np.float32)
    return Split(x[:10_000], y[:10_000], x[10_000:], y[10_000:])


class Poisson(Problem):
    """Poisson's equation on a line, whose solution is 0 at both ends.

    Training knows the equation and the ends, validation the solution.

    Args:
        model: places to values.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def init(self, key: jax.Array, x: jax.Array) -> Variables:
        """Random params."""
        return self.model.init(key, x[:1])

    def _value(self, variables: Variables, place: jax.Array) -> jax.Array:
        return jnp.sum(jnp.asarray(self.model.apply(variables, place[None, None])))

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """Squares of what the equation and the ends leave over."""
        second = jax.vmap(jax.grad(jax.grad(lambda p: self._value(variables, p))))
        left = (second(x[:, 0]) - y[:, 0]) / 10
        ends = jnp.array([0.0, 1.0])
        values = jax.vmap(lambda p: self._value(variables, p))(ends)
        return jnp.mean(left**2) + 10 * jnp.sum(values**2)

    def valid_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The root of the mean squared error of the solution."""
        values = jax.vmap(lambda p: self._value(variables, p))(x[:, 0])
        return jnp.sqrt(jnp.mean((values - y[:, 1]) ** 2))


def _process() -> Task:
    split = waves()
    return Task(
        "gaussian_process", Process(split), split, "densities", batch_size=120,
        num_steps=400, negative=True,
    )  # fmt: skip


TASKS: dict[str, Callable[[], Task]] = {
    "learned_variance": lambda: regress(
        "learned_variance", "densities", MLP((64, 2)), arrays.diabetes(),
        learned_variance, batch_size=32, negative=True,
    ),
    "gaussian_process": _process,
    "poisson_equation": lambda: Task(
        "poisson_equation", Poisson(MLP((32, 32, 1), jnp.tanh)), points(),
        "densities", batch_size=256, held_out=True,
    ),
    "flow": lambda: regress(
        "flow", "densities", Flow(), moons(), negative, batch_size=128,
        negative=True, held_out=True,
    ),
}  # fmt: skip
