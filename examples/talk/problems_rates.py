"""Runs with known rates: many seeds or step sizes in one program, and their constants.

For the scripts of the talk that hold a measured curve against a proven bound.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from examples.talk.training import scanned


class LeastSquares(NamedTuple):
    """f_i(w) = (x_i'w - y_i)^2 / 2, and f their mean.

    Attributes:
        x: rows are the inputs, (examples, features).
        y: targets, (examples,).
    """

    x: np.ndarray
    y: np.ndarray

    def example_loss(self, w: jax.Array, row: jax.Array) -> jax.Array:
        """Mean of f_i over one row or an array of rows."""
        residual = jnp.asarray(self.x)[row] @ w - jnp.asarray(self.y)[row]
        return jnp.mean(residual**2) / 2

    def full_loss(self, w: jax.Array) -> jax.Array:
        """f."""
        return jnp.mean((jnp.asarray(self.x) @ w - jnp.asarray(self.y)) ** 2) / 2

    def least(self) -> float:
        """The minimum of f."""
        w = np.linalg.lstsq(self.x, self.y, rcond=None)[0]
        return float(np.mean((self.x @ w - self.y) ** 2) / 2)


class Constants(NamedTuple):
    """What the bounds of a least-squares problem are made of.

    Attributes:
        mu: smallest nonzero eigenvalue of the Hessian.
        smoothness: L, its largest.
        largest: L_max, the largest smoothness of one f_i.
        growth: rho of the strong growth condition E|g_i|^2 <= rho |grad f|^2, exact
            where the optimum interpolates.
    """

    mu: float
    smoothness: float
    largest: float
    growth: float


def constants(x: np.ndarray) -> Constants:
    """The constants of least squares with these inputs."""
    hessian = x.T @ x / len(x)
    sizes, vectors = np.linalg.eigh(hessian)
    kept = sizes > 1e-10 * sizes[-1]
    sqnorms = np.sum(x**2, axis=1)
    # E|g_i|^2 / |grad f|^2 at an error e is e'Me / e'H^2e, where M = E |x|^2 x x'.
    # The norm of both stays the same along directions that no input has.
    whiten = vectors[:, kept] / sizes[kept]
    second_moment = (x * sqnorms[:, None]).T @ x / len(x)
    growth = np.linalg.eigvalsh(whiten.T @ second_moment @ whiten)[-1]
    return Constants(
        float(sizes[kept][0]), float(sizes[-1]), float(sqnorms.max()), float(growth)
    )


def examples_drawn(
    num_examples: int, runs: int, steps: int, batch_size: int | None = None
) -> np.ndarray:
    """Rows drawn with replacement, `(runs, steps)` or `(runs, steps, batch_size)`.

    With replacement because that is what the bounds assume.
    """
    rng = np.random.default_rng(1)
    shape = (runs, steps) if batch_size is None else (runs, steps, batch_size)
    return rng.integers(num_examples, size=shape, dtype=np.int32)


def descents(
    loss_fn: Callable[..., jax.Array],
    optimizer: Callable[[Any], optax.GradientTransformation],
    settings: Any,
    start: Any,
    batches: Any,
    *,
    full_loss: Callable[[Any], jax.Array],
    every: int = 1,
) -> np.ndarray:
    """The full loss along several runs of one program, `(runs, steps // every + 1)`.

    Args:
        loss_fn: `(params, batch) -> loss`.
        optimizer: from the setting of a run.
        settings: what differs between the runs, such as a step size; leading axis runs.
        start: the params that each run starts from; leading axis runs.
        batches: leading axes runs and steps.
        full_loss: `params -> loss`, recorded before the first step and on the way.
        every: steps between two records; must divide the number of steps.
    """

    def run(setting: Any, start: Any, batches: Any) -> jax.Array:
        made = optimizer(setting)
        return scanned(made, loss_fn, start, batches, full_loss, every)[1]

    start, batches = jax.tree.map(jnp.asarray, (start, batches))
    return np.asarray(jax.jit(jax.vmap(run))(settings, start, batches))


def decline(losses: np.ndarray, every: int, lowest: float = 1e-25) -> float:
    """How fast a loss falls: its mean fall in nats a step, until it meets rounding.

    Args:
        losses: of one run, of which the last value above `lowest` times the first
            ends the measured stretch.
        every: steps between two of them.
    """
    above = losses > lowest * losses[0]
    last = int(np.argmin(above)) - 1 if not above.all() else len(losses) - 1
    return float(np.log(losses[0] / losses[last]) / (last * every))
