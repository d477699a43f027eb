"""The small problems that the scripts about line searches train, and how they do it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from examples.common.shuffling import epochs_of
from examples.talk.training import scanned

Batch = tuple[Any, Any]


class Problem(NamedTuple):
    """Data, a model and how long to train it.

    Attributes:
        name: for figures and sentences.
        inputs: rows first.
        targets: as many rows.
        init: random key to params.
        loss: `(params, (inputs, targets)) -> mean loss`.
        batch_size: examples in a step.
        epochs: passes over the data; an incomplete last batch is left out.
        growth: of the line search's step in an epoch without a backtrack.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, Batch], jax.Array]
    batch_size: int
    epochs: int
    growth: float = 1.5

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the data."""
        return len(self.inputs) // self.batch_size


class Lanes(NamedTuple):
    """Runs side by side, lanes first.

    Attributes:
        loss: of all data before the first and after every epoch, `(lanes, epochs + 1)`;
            NaN and overflow are given as inf.
        metrics: of every step, `(lanes, steps)` each.
    """

    loss: np.ndarray
    metrics: dict[str, np.ndarray]

    @property
    def final(self) -> np.ndarray:
        """The loss after the last epoch, `(lanes,)`."""
        return self.loss[:, -1]

    @property
    def trials(self) -> np.ndarray:
        """Loss evaluations of every step's search, `(lanes, steps)`."""
        return self.metrics["num_trials"]


def train_lanes(
    problem: Problem,
    optimizer_of: Callable[[Any], optax.GradientTransformation],
    settings: Sequence[float] = (0.0,),
    seeds: Sequence[int] = (0,),
    targets: np.ndarray | None = None,
) -> Lanes:
    """Trains every setting with every seed at once; settings vary slowest.

    Args:
        problem: what to train.
        optimizer_of: from a setting (a step size, say) to an optimizer.
        settings: one or more.
        seeds: of the first params and of the order of the examples.
        targets: where each setting has its own, `(settings, rows)`.
    """
    every = range(len(settings) * len(seeds))
    lane_settings = jnp.repeat(jnp.asarray(settings, float), len(seeds))
    lane_seeds = np.array([seeds[lane % len(seeds)] for lane in every])
    rows = {seed: _order(problem, seed) for seed in seeds}
    orders = jnp.stack([rows[seed] for seed in lane_seeds])
    axes = (None, None if targets is None else 0)
    if targets is None:
        targets = problem.targets
    else:
        targets = np.repeat(targets, len(seeds), axis=0)
    data = (jnp.asarray(problem.inputs), jnp.asarray(targets))

    def run(setting, seed, order, data):
        def batch_loss(params, row):
            return problem.loss(params, jax.tree.map(lambda x: x[row], data))

        def full_loss(params):
            return problem.loss(params, data)

        params, optimizer = problem.init(jax.random.key(seed)), optimizer_of(setting)
        every = problem.steps_per_epoch
        return scanned(optimizer, batch_loss, params, order, full_loss, every)[1:]

    together = jax.jit(jax.vmap(run, in_axes=(0, 0, 0, axes)))
    loss, told = together(lane_settings, jnp.asarray(lane_seeds), orders, data)
    flat = {name: np.asarray(x).reshape(len(x), -1) for name, x in told.items()}
    return Lanes(np.nan_to_num(np.asarray(loss), nan=np.inf, posinf=np.inf), flat)


def _order(problem: Problem, seed: int) -> np.ndarray:
    return epochs_of(len(problem.inputs), problem.batch_size, problem.epochs, seed)


def logistic(weights: jax.Array, batch: Batch) -> jax.Array:
    """Mean logistic loss of a linear model; targets are -1 and 1."""
    inputs, signs = batch
    return jnp.mean(jax.nn.softplus(-signs * (inputs @ weights)))


def half_squares(weights: jax.Array, batch: Batch) -> jax.Array:
    """Half the mean squared error of a linear model."""
    inputs, targets = batch
    return 0.5 * jnp.mean((inputs @ weights - targets) ** 2)


def _kernel(name: str, points: np.ndarray, signs: np.ndarray, width: float) -> Problem:
    inputs = rbf_kernel(points, gamma=0.5 / width**2).astype(np.float32)
    signs = signs.astype(np.float32)
    zeros = lambda key: jnp.zeros(len(points))  # noqa: E731
    return Problem(name, inputs, signs, zeros, logistic, batch_size=100, epochs=35)


def kernel_cancer() -> Problem:
    """A bump around each of 569 tumours: 569 weights, so that all labels can be met."""
    points, labels = datasets.load_breast_cancer(return_X_y=True)
    points = StandardScaler().fit_transform(points)
    return _kernel("kernel, breast cancer", points, 2.0 * labels - 1, 1.5)


def kernel_digits() -> Problem:
    """A bump around each of 1797 digits: is the digit odd or even?"""
    points, labels = datasets.load_digits(return_X_y=True)
    return _kernel("kernel, digits", points / 16, 2.0 * (labels % 2) - 1, 1.0)


def factorization(rank: int) -> Problem:
    """Two linear layers 6 - rank - 10 that learn an ill-conditioned linear map.

    The map has rank 6: with 10 hidden units it is learned exactly, with 1 or 4 not.
    """
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.standard_normal((10, 6)))
    right, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    linear_map = left * np.linspace(1, 1e-10, 6) @ right.T
    inputs = rng.standard_normal((1000, 6))

    def init(key):
        first, second = jax.random.split(key)
        return (
            jax.random.uniform(first, (6, rank), float, -1, 1) / np.sqrt(6),
            jax.random.uniform(second, (rank, 10), float, -1, 1) / np.sqrt(rank),
        )

    def loss(params, batch):
        inputs, targets = batch
        outputs = inputs @ params[0] @ params[1]
        return jnp.mean(jnp.sum((outputs - targets) ** 2, -1))

    targets = inputs @ linear_map.T
    inputs, targets = inputs.astype(np.float32), targets.astype(np.float32)
    name = f"factorization, rank {rank}"
    # An exact one falls to the rounding error; the others stop at their floor early.
    epochs = 100 if rank >= 6 else 50
    return Problem(name, inputs, targets, init, loss, 100, epochs)


def _network(
    sizes: Sequence[int], activation: Callable, gain: float
) -> tuple[Callable, Callable]:
    """Init and mean softmax loss of dense layers; gain: of the weights' variance."""

    def layer(key, fan_in, fan_out):
        weights = jax.random.normal(key, (fan_in, fan_out)) * np.sqrt(gain / fan_in)
        return weights, jnp.zeros(fan_out)

    def init(key):
        keys = jax.random.split(key, len(sizes) - 1)
        return [
            layer(key, *pair)
            for key, pair in zip(keys, zip(sizes, sizes[1:], strict=False), strict=True)
        ]

    def loss(params, batch):
        x, labels = batch
        for weights, bias in params[:-1]:
            x = activation(x @ weights + bias)
        logits = x @ params[-1][0] + params[-1][1]
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(entropy)

    return init, loss


def digits_network(epochs: int = 40) -> Problem:
    """A ReLU network 64 - 256 - 128 - 10 that reads digits; float32."""
    points, labels = datasets.load_digits(return_X_y=True)
    init, loss = _network((64, 256, 128, 10), jax.nn.relu, gain=2.0)
    inputs = (points / 16).astype(np.float32)
    labels = labels.astype(np.int32)
    return Problem("network, digits", inputs, labels, init, loss, 64, epochs, 2.0)


def tanh_teacher(epochs: int = 80) -> Problem:
    """A tanh network 12 - 128 - 128 - 4 that learns another one's classes; float32."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((1500, 12))
    hidden = np.tanh(inputs @ rng.standard_normal((12, 16)) / np.sqrt(12) * 2)
    labels = np.argmax(hidden @ rng.standard_normal((16, 4)), -1).astype(np.int32)
    init, loss = _network((12, 128, 128, 4), jnp.tanh, gain=1.0)
    inputs = inputs.astype(np.float32)
    name = "network, tanh teacher"
    return Problem(name, inputs, labels, init, loss, 50, epochs, 2.0)


def least_squares(batch_size: int, epochs: int, noise: float = 0.0) -> Problem:
    """500 equations in 20 unknowns whose inputs have variances from 1 to 0.1."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((500, 20)) * np.sqrt(np.geomspace(1, 0.1, 20))
    targets = inputs @ rng.standard_normal(20) + noise * rng.standard_normal(500)
    zeros = lambda key: jnp.zeros(20)  # noqa: E731
    return Problem(
        "least squares", inputs, targets, zeros, half_squares, batch_size, epochs
    )
