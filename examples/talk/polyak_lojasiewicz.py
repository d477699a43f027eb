"""Losses that are not convex, and on which gradient descent is as fast as if they were.

Principal components and a small network satisfy the Polyak-Lojasiewicz (PL) inequality
|grad f|^2 >= 2 mu (f - f*) along the way that gradient descent takes, with a mu that
the doctor's estimator finds. Strong convexity fails at every point of it.

python -m examples.talk.polyak_lojasiewicz
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, LEGEND, ORANGE, panels
from optaxls.diagnostics import gradient_sample
from optaxls.diagnostics import polyak_lojasiewicz as pl_constant

# Below this share of the first gap rounding is in the way.
LOWEST = 1e-11


class Problem(NamedTuple):
    """A loss that is a mean over examples.

    Attributes:
        name: of the problem.
        example_loss: `(params, example) -> ()`.
        data: examples, with a leading axis.
        start: the params to start from.
        minimum: f*, the least value of the mean.
        step_size: of gradient descent, at most 1/L on its way.
        steps: of gradient descent; every `every`-th point is measured.
        every: steps between two points.
    """

    name: str
    example_loss: Callable[[Any, Any], jax.Array]
    data: Any
    start: Any
    minimum: float
    step_size: float
    steps: int
    every: int

    def loss(self, params: Any) -> jax.Array:
        """Of all examples."""
        return jnp.mean(jax.vmap(self.example_loss, (None, 0))(params, self.data))


class Found(NamedTuple):
    """What a trajectory showed; arrays have an axis of points.

    Attributes:
        name: of the problem.
        steps: where the points are.
        gaps: f - f* over that at the start.
        ratios: |grad f|^2 / (2 (f - f*)), whose least is mu.
        mu: that least ratio, by the doctor's estimator.
        least, largest: eigenvalues of the Hessian.
        step_size: of gradient descent.
        search: steps to a gap of 1e-8 of the first one with a line search, and the
            same of gradient descent.
    """

    name: str
    steps: np.ndarray
    gaps: np.ndarray
    ratios: np.ndarray
    mu: Any
    least: np.ndarray
    largest: np.ndarray
    step_size: float
    search: tuple[float, float]

    @property
    def bound(self) -> np.ndarray:
        """What PL promises of the gaps, for a step size of at most 1/L."""
        return (1 - self.step_size * float(self.mu.value)) ** self.steps


def components() -> Problem:
    """The two principal components: f(W) = mean |x - W W'x|^2 / 2, any basis of them.

    Turning the basis changes nothing, so that no minimum is isolated.
    """
    rng = np.random.default_rng(0)
    data = rng.standard_normal((100, 6)) * np.array([2.0, 1.5, 0.8, 0.6, 0.4, 0.2])
    values = np.linalg.eigvalsh(data.T @ data / len(data))

    def example_loss(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum((x - w @ (w.T @ x)) ** 2) / 2

    start = 0.3 * rng.standard_normal((6, 2))
    return Problem(
        "two principal components", example_loss, jnp.asarray(data), start,
        minimum=float(np.sum(values[:-2]) / 2), step_size=0.04, steps=300, every=5,
    )  # fmt: skip


def network() -> Problem:
    """A network of 50 hidden units that can fit its 8 examples exactly: f* is 0."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
    start = {"in": 1.5 * rng.standard_normal((3, 50)), "out": np.zeros(50)}

    def example_loss(params: Any, example: Any) -> jax.Array:
        x, y = example
        hidden = jnp.tanh(x @ params["in"])
        return (hidden @ params["out"] / np.sqrt(50) - y) ** 2 / 2

    return Problem(
        "network", example_loss, (jnp.asarray(x), jnp.asarray(y)), start,
        minimum=0.0, step_size=1.0, steps=3000, every=50,
    )  # fmt: skip


def trajectory(task: Problem) -> Any:
    """The params before gradient descent's steps, a leading axis of points."""

    def block(w: Any, _: None) -> tuple[Any, Any]:
        def step(_: int, at: Any) -> Any:
            grad = jax.grad(task.loss)(at)
            return optax.apply_updates(at, optax.tree.scale(-task.step_size, grad))

        return jax.lax.fori_loop(0, task.every, step, w), w

    start = jax.tree.map(jnp.asarray, task.start)
    count = task.steps // task.every
    return jax.jit(lambda w: jax.lax.scan(block, w, length=count)[1])(start)


def curvatures(task: Problem, path: Any) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest eigenvalue of the Hessian at each point."""
    unravel = ravel_pytree(task.start)[1]

    def at(params: Any) -> tuple[jax.Array, jax.Array]:
        hessian = jax.hessian(lambda flat: task.loss(unravel(flat)))
        values = jnp.linalg.eigvalsh(hessian(ravel_pytree(params)[0]))
        return values[0], values[-1]

    least, largest = jax.jit(lambda path: jax.lax.map(at, path))(path)
    return np.asarray(least), np.asarray(largest)


def _needed(gaps: np.ndarray) -> float:
    below = np.flatnonzero(gaps <= 1e-8)
    return float(below[0]) if len(below) else np.inf


def searched(task: Problem) -> float:
    """Steps to a gap of 1e-8 of the first one with a line search."""
    optimizer = optaxls.sls(steps_per_epoch=1, decrease_factor=0.5)
    end = optaxls.minimize(
        task.loss, task.start, optimizer, max_steps=task.steps, tolerance=1e-12
    )
    gaps = np.asarray(end.history.value) - task.minimum
    return _needed(gaps / gaps[0])


def measured(task: Problem) -> Found:
    """Gradient descent, and the doctor's estimator along it."""
    path = trajectory(task)

    def sample(params: Any) -> Any:
        return gradient_sample(task.example_loss, params, task.data, chunk_size=4)

    samples = jax.jit(lambda path: jax.lax.map(sample, path))(path)
    gaps = np.asarray(samples.values.mean(-1)) - task.minimum
    kept = np.flatnonzero(gaps > LOWEST * gaps[0])
    samples, path = jax.tree.map(lambda leaf: leaf[kept], (samples, path))
    gaps = gaps[kept]
    least, largest = curvatures(task, path)
    steps = kept * task.every
    descent = next((s for s, g in zip(steps, gaps, strict=True) if g <= 1e-8 * gaps[0]),
                   np.inf)  # fmt: skip
    return Found(
        name=task.name,
        steps=steps,
        gaps=gaps / gaps[0],
        ratios=np.asarray(samples.squared_mean_norm) / (2 * gaps),
        mu=pl_constant(samples, minimum=task.minimum),
        least=least,
        largest=largest,
        step_size=task.step_size,
        search=(searched(task), float(descent)),
    )


def draw(results: list[Found]) -> Figure:
    """Gaps with their bounds, ratios, and the least curvature."""
    figure, (left, middle, right) = panels(
        ["Gap to the minimum", "|∇f|² / (2 (f − f*))", "Least curvature"]
    )
    for found, colour in zip(results, (BLUE, ORANGE), strict=True):
        share = found.steps / found.steps[-1]
        left.semilogy(share, found.gaps, color=colour, label=found.name)
        left.semilogy(share, found.bound, color=colour, ls="--", lw=1)
        middle.semilogy(share, found.ratios, color=colour)
        right.plot(share, found.least, color=colour)
    left.plot([], [], color=BLACK, ls="--", lw=1, label="promised by PL")
    left.set_ylim(1e-15, 2)
    left.set_ylabel("over the first gap")
    left.legend(loc="lower left", **LEGEND)
    middle.set_ylabel("its least is μ")
    right.axhline(0, color=BLACK, lw=0.8)
    right.set_ylabel("of the Hessian")
    right.set_yscale("symlog", linthresh=1e-3)
    for axes in (left, middle, right):
        axes.set_xlabel("share of the run")
    return figure


def _checks(found: Found) -> tuple[Check, ...]:
    return (
        at_least(
            f"{found.name}: mu of PL along the run over L",
            float(found.mu.value) / found.largest.max(), 1e-5,
        ),
        at_most(
            f"{found.name}: gap / gap that PL promises, largest after the start",
            float(np.max((found.gaps / found.bound)[1:])), 1.0,
        ),
        at_most(
            f"{found.name}: least curvature over L, highest of all points",
            float(np.max(found.least / found.largest.max())), 1e-9,
        ),
    )  # fmt: skip


def measure() -> Claim:
    """Both problems along gradient descent."""
    with jax.enable_x64(True):
        results = [measured(task) for task in (components(), network())]
    told = "; ".join(
        f"{f.name}: mu = {float(f.mu.value):.3g}, L = {f.largest.max():.3g}, least"
        f" curvature {f.least.min():.2g}"
        for f in results
    )
    steps = "; ".join(
        f"{f.name}: {f.search[0]:.0f} against {f.search[1]:.0f}" for f in results
    )
    return Claim(
        title="The Polyak-Lojasiewicz inequality",
        says="Gradient descent converges linearly without convexity where the squared"
        " gradient is at least 2μ times the gap to the minimum; principal components"
        " and a network that can fit its data are such losses.",
        checks=tuple(check for found in results for check in _checks(found)),
        findings=(
            f"Along the runs: {told}.",
            "The minima are not isolated: a turn of the basis, or a change of weights"
            " that no example sees, changes nothing. There the least curvature is 0.",
            "Steps to 1e-8 of the first gap, with a line search against with a constant"
            f" step: {steps}.",
            "The inequality is measured along these runs only. Elsewhere it fails: the"
            " basis W = 0 is a saddle point, with no gradient and a gap.",
        ),
        figure=draw(results),
        source="Polyak 1963; Karimi, Nutini, Schmidt 2016 (arXiv:1608.04636)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "polyak_lojasiewicz"))
