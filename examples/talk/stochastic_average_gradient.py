"""One gradient at a time, and still a linear rate: the stochastic average gradient.

Logistic regression on scikit-learn's breast cancer set. SAG keeps the last derivative
of every example; its Lipschitz constants are searched, one for all examples or one for
each, which then also decide how often an example is drawn.

python -m examples.talk.stochastic_average_gradient
"""

import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import optaxls
from examples.talk.claim import Check, Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, panels
from examples.talk.problems_rates import descents, examples_drawn
from optaxls import linear

PASSES = (1, 2, 5, 10, 15, 20, 29)
SGD_STEPS = np.array([1e-3, 1e-2, 1e-1, 1.0])
SEEDS = 3
FIXED, SEARCHED, DRAWN = "SAG, step 1/L", "SAG, searched", "SAG, drawn by constants"


def data() -> tuple[np.ndarray, np.ndarray]:
    """Features with a constant, and classes -1 and 1."""
    features, classes = load_breast_cancer(return_X_y=True)
    x = (features - features.mean(0)) / features.std(0)
    return np.column_stack([x, np.ones(len(x))]), 2.0 * classes - 1


def sag(problem: linear.Problem, **given: Any) -> np.ndarray:
    """The objective after each number of passes, the mean over the seeds."""

    def after(passes: int, seed: int) -> float:
        fit = linear.sag(
            problem, tolerance=0.0, max_passes=passes, key=jax.random.key(seed), **given
        )
        return float(fit.objective)

    with warnings.catch_warnings():
        # That so few passes do not converge is the point.
        warnings.simplefilter("ignore")
        return np.array(
            [np.mean([after(p, seed) for seed in range(SEEDS)]) for p in PASSES]
        )


def objectives(x: np.ndarray, y: np.ndarray, l2: float) -> dict[str, np.ndarray]:
    """By method: the objective after each number of passes."""
    problem = linear.problem(x, (y > 0), loss="logistic", l2=l2, intercept=False)
    signed = jnp.asarray(x * y[:, None])

    def loss(w: jax.Array, rows: jax.Array) -> jax.Array:
        return jnp.mean(jax.nn.softplus(-(rows @ w))) + l2 / 2 * jnp.sum(w**2)

    def example_loss(w: jax.Array, index: jax.Array) -> jax.Array:
        return loss(w, signed[index][None])

    start, count = np.zeros(x.shape[1]), len(x)
    smoothness = np.linalg.eigvalsh(x.T @ x / count)[-1] / 4 + l2
    descent = optaxls.minimize(
        lambda w: loss(w, signed), start, optax.sgd(1 / smoothness),
        max_steps=PASSES[-1], tolerance=0.0,
    )  # fmt: skip
    order = examples_drawn(count, 1, PASSES[-1] * count)
    plain = descents(
        example_loss, optax.sgd, SGD_STEPS, np.tile(start, (len(SGD_STEPS), 1)),
        np.tile(order, (len(SGD_STEPS), 1)), full_loss=lambda w: loss(w, signed),
        every=count,
    )  # fmt: skip
    at = np.array(PASSES)
    largest = float(np.max(np.sum(x**2, axis=1)) / 4)
    return {
        "gradient descent": np.asarray(descent.history.value)[at],
        "SGD, best of 4 steps": plain[np.nanargmin(plain[:, -1])][at],
        FIXED: sag(problem, sampling="uniform", lipschitz=largest),
        SEARCHED: sag(problem, sampling="uniform", initial_lipschitz=1.0),
        "begun at 1000": sag(problem, sampling="uniform", initial_lipschitz=1e3),
        DRAWN: sag(problem),
    }


def gaps() -> dict[str, np.ndarray]:
    """Gaps to the minimum over the first one."""
    x, y = data()
    l2 = 1 / len(y)
    problem = linear.problem(x, (y > 0), loss="logistic", l2=l2, intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        least = float(linear.sag(problem, tolerance=1e-13, max_passes=300).objective)
    found = objectives(x, y, l2)
    return {name: (f - least) / (np.log(2) - least) for name, f in found.items()}


def draw(found: dict[str, np.ndarray]) -> Figure:
    """Gaps by passes."""
    figure, (axes,) = panels(["Gap to the minimum"])
    colours = (BLACK, PINK, ORANGE, BLUE, GREEN)
    shown = [name for name in found if name != "begun at 1000"]
    for name, colour in zip(shown, colours, strict=True):
        gaps = np.maximum(found[name], 1e-16)
        axes.semilogy(PASSES, gaps, "o-", ms=3, color=colour, label=name)
    axes.set(xlabel="passes over the data", ylim=(1e-15, 1))
    axes.set_ylabel("over the first gap")
    axes.legend(loc="lower left", **LEGEND)
    return figure


def _checks(found: dict[str, np.ndarray]) -> tuple[Check, ...]:
    end = {name: float(gaps[-1]) for name, gaps in found.items()}
    fall = max(end[DRAWN], 1e-16) / end[SEARCHED]
    ratio = max(
        end["begun at 1000"] / end[SEARCHED], end[SEARCHED] / end["begun at 1000"]
    )
    return (
        at_most("gap of SAG searched / with 1/L", end[SEARCHED] / end[FIXED], 0.1),
        at_most("gap of SAG drawn by constants / searched", fall, 1e-3),
        at_most("searches begun at 1 and at 1000: ratio of the gaps", ratio, 10),
        at_least(
            "gap of gradient descent / of SAG searched",
            end["gradient descent"] / end[SEARCHED], 100,
        ),
    )  # fmt: skip


def measure() -> Claim:
    """Six runs of 29 passes."""
    with jax.enable_x64(True):
        found = gaps()
    sizes = np.sum(data()[0] ** 2, axis=1)
    spread = sizes.max() / sizes.mean()
    told = ", ".join(f"{name} {gaps[-1]:.2g}" for name, gaps in found.items())
    return Claim(
        title="SAG",
        says="With a table of the last derivatives, steps that cost one gradient reach"
        " a linear rate, and a search finds their step size; drawing examples by their"
        " constants is faster by many orders.",
        checks=_checks(found),
        findings=(
            f"Gaps over the first one after {PASSES[-1]} passes: {told}.",
            f"The largest constant of an example is {spread:.0f} times the mean one;"
            " with one step size for all it makes every step short.",
        ),
        figure=draw(found),
        source="Schmidt, Le Roux, Bach 2017 (arXiv:1309.2388)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "stochastic_average_gradient"))
