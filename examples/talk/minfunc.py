"""L-BFGS needs a fraction of the steps of gradient descent and of Nesterov's method.

Regularised logistic regression on scikit-learn's breast cancer set, a loss that is the
same at every step, with `minimize`: what minFunc is used for. Counted are steps, and
evaluations of the loss with its gradient.

python -m examples.talk.minfunc
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, panels

TOLERANCE = 1e-6
L2 = 1e-3
STEPS = 12000


class Problem(NamedTuple):
    """A loss, and what is known of it.

    Attributes:
        loss: `weights -> ()`.
        start: the weights to start from.
        smoothness: the largest curvature.
    """

    loss: Callable[[Any], jax.Array]
    start: np.ndarray
    smoothness: float


class Run(NamedTuple):
    """Gaps over the first one, and evaluations so far, `(steps + 1,)`."""

    gaps: np.ndarray
    evaluations: np.ndarray

    @property
    def steps(self) -> float:
        """To the tolerance; infinite if it was not reached."""
        below = np.flatnonzero(self.gaps <= TOLERANCE)
        return float(below[0]) if len(below) else np.inf

    @property
    def cost(self) -> float:
        """Evaluations until then."""
        return float(self.evaluations[int(self.steps)])


def problem() -> Problem:
    """The classes of the breast cancer set from its 30 features and a constant."""
    features, classes = load_breast_cancer(return_X_y=True)
    x = (features - features.mean(0)) / features.std(0)
    x = np.column_stack([x, np.ones(len(x))])
    signed = x * (2 * classes - 1)[:, None]

    def loss(w: jax.Array) -> jax.Array:
        return jnp.mean(jax.nn.softplus(-(signed @ w))) + L2 / 2 * jnp.sum(w**2)

    largest = np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    return Problem(loss, np.zeros(x.shape[1]), float(largest / 4 + L2))


def optimizers(smoothness: float) -> dict[str, optax.GradientTransformation]:
    """By name; the first three know the largest curvature."""

    def nesterov(strong_convexity: float, restart: bool) -> Any:
        return optaxls.accelerated_sgd(
            growth_constant=1.0, smoothness=smoothness,
            strong_convexity=strong_convexity, restart=restart,
        )  # fmt: skip

    return {
        "gradient descent": optax.sgd(1 / smoothness),
        "Nesterov": nesterov(L2, False),
        "Nesterov, restarts": nesterov(0.0, True),
        "line search": optaxls.sls(steps_per_epoch=1, decrease_factor=0.5),
        "L-BFGS": optaxls.lbfgs(),
    }


def run(task: Problem, optimizer: Any, least: float) -> Run:
    """Minimises far below the tolerance."""
    first = float(task.loss(jnp.asarray(task.start)))
    end = optaxls.minimize(
        task.loss, task.start, optimizer, max_steps=STEPS, tolerance=1e-9
    )
    count = int(end.num_steps) + 1
    gaps = (np.asarray(end.history.value[:count]) - least) / (first - least)
    return Run(gaps, np.asarray(end.history.num_evaluations[:count]))


def minimum(task: Problem) -> float:
    """The least loss, to rounding."""
    end = optaxls.minimize(task.loss, task.start, optaxls.lbfgs(), tolerance=1e-13)
    return float(end.value)


def draw(runs: dict[str, Run]) -> Figure:
    """Gaps by step and by evaluation."""
    figure, (left, right) = panels(["By steps", "By evaluations"])
    colours = (BLACK, ORANGE, PINK, GREEN, BLUE)
    for (name, found), colour in zip(runs.items(), colours, strict=True):
        gaps = np.maximum(found.gaps, 1e-16)
        left.loglog(np.arange(1, len(gaps)), gaps[1:], color=colour, label=name)
        right.loglog(found.evaluations[1:], gaps[1:], color=colour)
    for axes, label in ((left, "steps"), (right, "evaluations of loss and gradient")):
        axes.axhline(TOLERANCE, color="#999999", lw=0.8, ls=":")
        axes.set(ylim=(1e-10, 1e3), xlabel=label)
    left.set_ylabel("gap to the minimum / first gap")
    left.legend(loc="upper right", ncols=2, **LEGEND)
    return figure


def _checks(runs: dict[str, Run]) -> tuple[Check, ...]:
    steps = {name: found.steps for name, found in runs.items()}
    best = min(steps["Nesterov"], steps["Nesterov, restarts"])
    return (
        at_most(
            "steps to 1e-6: L-BFGS / the better Nesterov", steps["L-BFGS"] / best, 1 / 5
        ),
        at_most(
            "steps to 1e-6: L-BFGS / gradient descent",
            steps["L-BFGS"] / steps["gradient descent"], 1 / 50,
        ),
        at_most(
            "evaluations / steps of L-BFGS",
            runs["L-BFGS"].cost / runs["L-BFGS"].steps, 1.15,
        ),
    )  # fmt: skip


def measure() -> Claim:
    """Five methods from the same start."""
    with jax.enable_x64(True):
        task = problem()
        least = minimum(task)
        made = optimizers(task.smoothness)
        runs = {name: run(task, made[name], least) for name in made}
    each = ", ".join(f"{name} {f.steps:.0f} ({f.cost:.0f})" for name, f in runs.items())
    ratio = task.smoothness / L2
    return Claim(
        title="minFunc",
        says="On a loss that is the same at every step L-BFGS with a line search takes"
        " a fifth of the steps of Nesterov's method, and a fiftieth of those of"
        " gradient descent.",
        checks=_checks(runs),
        findings=(
            f"Steps to a gap of 1e-6 of the first one, with evaluations: {each}.",
            f"The largest curvature is {ratio:.0f} times the least that is guaranteed."
            " Gradient descent and Nesterov's method are told both numbers; L-BFGS and"
            " the line search are told neither.",
        ),
        figure=draw(runs),
        source="Schmidt, minFunc, 2005; Nesterov 1983; O'Donoghue, Candes 2015"
        " (arXiv:1204.3982)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "minfunc"))
