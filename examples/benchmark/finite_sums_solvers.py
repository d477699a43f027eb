"""Solvers of logistic regressions that pass over the data, and the data they get."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression

import optaxls
from optaxls import linear

# Examples in a block of ours, and in a batch of Adam and ``auto``.
_BATCH = 64


class Data(NamedTuple):
    """Rows, labels of -1 and 1, and the factor of half the squared length."""

    features: np.ndarray
    labels: np.ndarray
    l2: float


# ``(data, passes, seed) -> coefficients``.
Solve = Callable[[Data, int, int], Any]


def _with_ones(features: np.ndarray, labels: np.ndarray) -> Data:
    """A column of ones, which is penalised like the others."""
    x = np.c_[features, np.ones(len(labels))]
    return Data(x, 2.0 * labels - 1, 1 / len(labels))


def synthetic(num_rows: int, num_columns: int) -> Data:
    """Columns of falling size, and labels drawn from the model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((num_rows, num_columns)) * np.geomspace(1, 0.1, num_columns)
    logits = x @ rng.standard_normal(num_columns)
    labels = rng.random(num_rows) < 1 / (1 + np.exp(-logits))
    return Data(x, 2.0 * labels - 1, 1 / num_rows)


def problems(rows: int, columns: int) -> dict[str, Data]:
    """Two data sets that come with scikit-learn, and a synthetic one."""
    x, y = load_breast_cancer(return_X_y=True)
    pixels, numbers = load_digits(return_X_y=True)
    return {
        "breast cancer": _with_ones((x - x.mean(0)) / x.std(0), y),
        "digits, odd or even": _with_ones(pixels / 16, numbers % 2),
        f"synthetic, {rows} x {columns}": synthetic(rows, columns),
    }


def objective(data: Data, w: Any) -> float:
    w = np.asarray(w, np.float64)
    losses = np.logaddexp(0, -data.labels * (data.features @ w))
    return float(losses.mean() + data.l2 / 2 * w @ w)


def least(data: Data) -> float:
    """The minimum, by Newton's method with steps that are halved where it rises."""
    x, y = data.features, data.labels
    w, value = np.zeros(x.shape[1]), np.log(2)
    for _ in range(50):
        slopes = -y / (1 + np.exp(np.minimum(y * (x @ w), 700)))
        gradient = slopes @ x / len(y) + data.l2 * w
        share = np.abs(slopes) * (1 - np.abs(slopes)) / len(y)
        hessian = (x.T * share) @ x + data.l2 * np.eye(len(w))
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-6 and objective(data, w - size * step) > value:
            size /= 2
        w = w - size * step
        value = min(value, objective(data, w))
        if np.abs(gradient).max() < 1e-12:
            break
    return value


def ours(solver: Callable, **arguments: Any) -> Solve:
    def solve(data: Data, passes: int, seed: int) -> Any:
        problem = linear.problem(
            data.features, data.labels, loss="logistic", l2=data.l2, intercept=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return solver(
                problem,
                tolerance=0.0,
                max_passes=passes,
                key=jax.random.key(seed),
                **arguments,
            ).coefficients

    return solve


def scikit_learn(solver: str) -> Solve:
    def solve(data: Data, passes: int, seed: int) -> Any:
        model = LogisticRegression(
            C=1 / (data.l2 * len(data.labels)),
            fit_intercept=False,
            solver=solver,
            tol=0.0,
            max_iter=passes,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(data.features, data.labels).coef_[0]

    return solve


def with_optax(make: Callable[[], Any]) -> Solve:
    """Passes of an optax optimizer over shuffled batches, as one program."""
    optimizer = optax.with_extra_args_support(make())

    def loss(w, x, y, l2):
        return jnp.mean(jax.nn.softplus(-y * (x @ w))) + 0.5 * l2 * w @ w

    step = optaxls.make_step(loss, optimizer)

    @jax.jit
    def run(x, y, l2, keys):
        def one_pass(carry, key):
            order = jax.random.permutation(key, len(y))
            order = order[: len(y) // _BATCH * _BATCH].reshape(-1, _BATCH)

            def one_step(carry, rows):
                result = step(*carry, x[rows], y[rows], l2)
                return (result.params, result.opt_state), None

            return jax.lax.scan(one_step, carry, order)[0], None

        w = jnp.zeros_like(x[0])
        (w, state), _ = jax.lax.scan(one_pass, (w, optimizer.init(w)), keys)
        return optaxls.eval_params(state, w)

    def solve(data: Data, passes: int, seed: int) -> Any:
        keys = jax.random.split(jax.random.key(seed), passes)
        return run(jnp.asarray(data.features), jnp.asarray(data.labels), data.l2, keys)

    return solve


def contenders() -> dict[str, Solve]:
    """Those that are raced to a gap."""
    return {
        "optaxls sag": ours(linear.sag),
        "optaxls saga": ours(linear.saga),
        f"optaxls saga, blocks of {_BATCH}": ours(linear.saga, batch_size=_BATCH),
        "scikit-learn sag": scikit_learn("sag"),
        "scikit-learn saga": scikit_learn("saga"),
    }


def beside() -> dict[str, Solve]:
    """Those that do not reach the gap: what they reach in as many passes."""
    adams = {
        f"Adam, {rate:g}": with_optax(lambda rate=rate: optax.adam(rate))
        for rate in (1e-3, 1e-2, 1e-1)
    }
    return adams | {"auto": with_optax(optaxls.auto)}
