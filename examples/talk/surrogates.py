"""Many steps for each costly gradient: target-based surrogates.

Where the loss of predictions is costly (a simulator, a human) and the model is cheap,
one gradient with respect to the predictions gives each example a target, and many
searched steps go towards the targets. Counted are evaluations of the loss.

python -m examples.talk.surrogates
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels

INNER_STEPS = (1, 5, 20, 100)
CALLS = 600
TOLERANCE = 1e-3
BATCH = 50


class Regression(NamedTuple):
    """Least squares whose targets some weights fit; inputs `(examples, features)`."""

    x: np.ndarray
    y: np.ndarray

    def loss(self, w: jax.Array) -> jax.Array:
        """Of all examples."""
        return costly(predict(w, self.x, self.y), self.x, self.y)


class Run(NamedTuple):
    """Loss of all examples over the first one, `(calls + 1,)`, and trials a call."""

    losses: np.ndarray
    trials: float

    @property
    def needed(self) -> float:
        """Evaluations of the costly loss to the tolerance, infinite if not reached."""
        below = np.flatnonzero(self.losses <= TOLERANCE)
        return float(below[0]) if len(below) else np.inf


def problem() -> Regression:
    """The features of scikit-learn's breast cancer set, which are nearly dependent."""
    features = load_breast_cancer(return_X_y=True)[0]
    x = (features - features.mean(0)) / features.std(0)
    x = np.column_stack([x, np.ones(len(x))])
    weights = np.random.default_rng(0).standard_normal(x.shape[1])
    return Regression(x.astype(np.float32), (x @ weights).astype(np.float32))


def predict(w: jax.Array, x: Any, y: Any) -> jax.Array:
    """The cheap part: the predictions."""
    return x @ w


def costly(z: jax.Array, x: Any, y: Any) -> jax.Array:
    """Stands for the costly part: the mean over the examples."""
    return jnp.mean((z - y) ** 2) / 2


def searched() -> Any:
    """Gradient descent with a backtracking search, which doubles its last step."""
    return optaxls.sls(steps_per_epoch=1, c=0.5, decrease_factor=0.5)


def run(
    task: Regression, optimizer: Any, inner_steps: int, batch_size: int | None
) -> Run:
    """Trains for a number of evaluations of the costly loss.

    Args:
        task: what to fit.
        optimizer: for the inner steps.
        inner_steps: for each evaluation.
        batch_size: drawn with replacement; all examples if None.
    """
    rng, count = np.random.default_rng(0), len(task.y)
    rows = np.broadcast_to(np.arange(count), (CALLS, count))
    if batch_size is not None:
        rows = rng.integers(count, size=(CALLS, batch_size))
    step = optaxls.make_surrogate_step(
        predict, costly, optimizer, inner_steps=inner_steps, step_size=1.0
    )
    x, y, start = jnp.asarray(task.x), jnp.asarray(task.y), jnp.zeros(task.x.shape[1])

    def body(carry: tuple, rows: jax.Array) -> tuple:
        found = step(*carry, x[rows], y[rows])
        told = task.loss(found.params), found.metrics["num_trials"]
        return (found.params, found.opt_state), told

    @jax.jit
    def train(rows: jax.Array) -> tuple:
        return jax.lax.scan(body, (start, optimizer.init(start)), rows)[1]

    losses, trials = map(np.asarray, train(jnp.asarray(rows)))
    losses = np.concatenate([[1.0], losses / float(task.loss(start))])
    return Run(losses, float(np.mean(trials)))


def _draw_losses(axes: Axes, runs: dict[int, Run]) -> None:
    colours = (BLACK, ORANGE, BLUE, GREEN)
    for (inner, found), colour in zip(runs.items(), colours, strict=True):
        label = f"{inner} inner step" + "s" * (inner > 1)
        axes.loglog(np.arange(1, CALLS + 1), found.losses[1:], color=colour,
                    label=label)  # fmt: skip
    axes.axhline(TOLERANCE, color="#999999", lw=0.8, ls=":")
    axes.set(ylim=(1e-8, 1.5), xlabel="evaluations of the loss")
    axes.set_ylabel("loss / first loss")
    axes.legend(loc="lower left", **LEGEND)


def draw(series: dict[str, dict[int, Run]]) -> Figure:
    """Losses by evaluation, and evaluations needed by inner steps."""
    figure, (left, right) = panels(["All examples, searched", "Evaluations to 10⁻³"])
    _draw_losses(left, next(iter(series.values())))
    styles = ((BLUE, "o-"), (ORANGE, "s-"), (GREEN, "^--"))
    for (name, runs), (colour, style) in zip(series.items(), styles, strict=True):
        needed = [found.needed for found in runs.values()]
        right.loglog(list(runs), needed, style, color=colour, ms=4, label=name)
    right.set_xticks(INNER_STEPS, [str(inner) for inner in INNER_STEPS])
    right.minorticks_off()
    right.set(xlabel="inner steps for each evaluation")
    right.legend(loc="upper right", **LEGEND)
    return figure


def _checks(name: str, runs: dict[int, Run]) -> tuple[Check, ...]:
    needed = {inner: found.needed for inner, found in runs.items()}
    falls = all(np.diff(list(needed.values())) < 0) and np.isfinite(needed[1])
    told = ", ".join(f"{calls:.0f}" for calls in needed.values())
    return (
        Check(
            f"{name}: evaluations by 1, 5, 20, 100 inner steps, strictly falling",
            told, bool(falls),
        ),
        at_most(
            f"{name}: evaluations with 20 inner steps / with 5",
            needed[20] / needed[5], 1 / 3,
        ),
    )  # fmt: skip


def measure() -> Claim:
    """Three kinds of runs at four numbers of inner steps."""
    task = problem()

    def runs(optimizer: Any, batch_size: int | None) -> dict[int, Run]:
        return {m: run(task, optimizer, m, batch_size) for m in INNER_STEPS}

    full, batches = runs(searched(), None), runs(searched(), BATCH)
    quasi_newton = runs(optaxls.lbfgs(), BATCH)
    named = {
        "all examples": full,
        f"batches of {BATCH}": batches,
        f"batches of {BATCH}, L-BFGS": quasi_newton,
    }
    first = {inner: found.needed for inner, found in quasi_newton.items()}
    return Claim(
        title="Target-based surrogates",
        says="Where evaluations of the loss are costly and the model is cheap, many"
        " searched steps towards targets, which one gradient gives, save evaluations.",
        checks=_checks("all examples", full) + _checks(f"batches of {BATCH}", batches),
        findings=(
            f"The searches of a call with 20 inner steps made {full[20].trials:.0f}"
            f" trials on average, with 5 {full[5].trials:.0f}: cheap evaluations of the"
            " model, none of the loss.",
            f"With L-BFGS inside, batches of {BATCH}: {first[1]:.0f}, {first[5]:.0f},"
            f" {first[20]:.0f} and {first[100]:.0f} evaluations.",
            "The curves end flat where no entry of the gradient is above 1e-6: there"
            " inner steps end early.",
            "One inner step is SGD with a step size that a search on the surrogate"
            " finds; with a constant step size it is SGD exactly, as a test shows.",
        ),
        figure=draw(named),
        source="Lavington, Vaswani, Babanezhad, Schmidt, Le Roux 2023"
        " (arXiv:2302.02607)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "surrogates"))
