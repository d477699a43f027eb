"""Plane search: step size and momentum found together, on every step.

Gradient descent with momentum has two numbers to choose. A line search finds the first
one. Here both are found, on losses of a model that is linear in what the loss needs, so
that a trial costs no product with the data: logistic regression, and two layers.

python -m examples.talk.plane_search
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, SKY, panels

STEPS, LAYERS_STEPS = 300, 100
HIDDEN = 30
# The heavy ball's grid: 13 step sizes and 5 momenta, of which the best is shown.
STEP_SIZES = np.geomspace(0.01, 100, 13)
MOMENTA = np.array([0.0, 0.5, 0.9, 0.95, 0.99])
TOLERANCES = (1e-4, 1e-6)


class Model(NamedTuple):
    """A loss of predictions that are linear in the params, and where training starts.

    Attributes:
        predict: params to what the loss needs, by products with the data.
        of_predictions: from there to the loss.
        start: params.
    """

    predict: Callable[[Any], Any]
    of_predictions: Callable[[Any], jax.Array]
    start: Any

    def loss(self, params: Any) -> jax.Array:
        """The training loss."""
        return self.of_predictions(self.predict(params))

    def products(self, params: Any) -> dict[str, Any]:
        """What `make_step` passes to the plane search besides."""
        del params
        return {
            "predict_fn": self.predict,
            "prediction_loss_fn": self.of_predictions,
        }


def logistic(inputs: np.ndarray, labels: np.ndarray) -> Model:
    """Regularised logistic regression with labels of -1 and 1."""
    x = jnp.asarray(np.c_[inputs, np.ones(len(inputs))])
    y, weight = jnp.asarray(labels), 1 / len(labels)

    def loss(z):
        margins, w = z
        return jnp.mean(jnp.logaddexp(0, -y * margins)) + weight / 2 * w @ w

    return Model(lambda w: (x @ w, w), loss, jnp.zeros(x.shape[1]))


def two_layers() -> Model:
    """500 digits, tanh units: the params enter linearly before tanh and after it."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    x, y = jnp.asarray(pixels[:500] / 16), jnp.asarray(labels[:500])
    rng = np.random.default_rng(0)
    start = {
        "hidden": jnp.asarray(rng.standard_normal((64, HIDDEN)) / 8),
        "out": jnp.asarray(rng.standard_normal((HIDDEN, 10)) / np.sqrt(HIDDEN)),
    }

    def loss(z):
        scores = jnp.tanh(z[0]) @ z[1]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, y))

    return Model(lambda w: (x @ w["hidden"], w["out"]), loss, start)


def models() -> dict[str, Model]:
    """The problems, by name; the last one has two layers."""
    inputs, benign = datasets.load_breast_cancer(return_X_y=True)
    pixels, digits = datasets.load_digits(return_X_y=True)
    return {
        "breast cancer": logistic(
            StandardScaler().fit_transform(inputs), 2.0 * benign - 1
        ),
        "digits, odd or even": logistic(pixels / 16, 2.0 * (digits % 2) - 1),
        "digits, two layers": two_layers(),
    }


def plane_search() -> optax.GradientTransformationExtraArgs:
    """The least point of the plane, and a search that tests it from step 1."""
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_plane(),
        optaxls.scale_by_line_search(
            optaxls.armijo(1e-4), optaxls.constant(1.0), optaxls.backtracking(0.5)
        ),
    )


class Run(NamedTuple):
    """The loss before each step, trials a step, and the momentum's signed lengths."""

    losses: np.ndarray
    num_trials: float
    momentum: np.ndarray


def run(model: Model, optimizer: Any, steps: int, products: bool = False) -> Run:
    """Full batches from the model's start."""
    extra = model.products if products else None
    step = optaxls.make_step(model.loss, optimizer, extra=extra)

    def body(carry, _):
        result = step(*carry)
        momentum = optax.tree.get(result.opt_state, "along_displacement", jnp.zeros(()))
        trials = result.metrics.get("num_trials", jnp.zeros((), jnp.int32))
        return result[:2], (result.value, trials, momentum)

    start = (model.start, optimizer.init(model.start))
    _, told = jax.jit(lambda: jax.lax.scan(body, start, length=steps))()
    losses, trials, momentum = map(np.asarray, told)
    return Run(losses, float(trials.mean()), momentum)


def heavy_ball(model: Model, steps: int) -> np.ndarray:
    """The losses of the whole grid, `(step sizes and momenta, steps)`."""

    def one(step_size, momentum):
        step = optaxls.make_step(model.loss, optax.sgd(step_size, momentum=momentum))

        def body(carry, _):
            result = step(*carry)
            return result[:2], result.value

        first = optax.sgd(step_size, momentum=momentum).init(model.start)
        return jax.lax.scan(body, (model.start, first), length=steps)[1]

    sizes, momenta = np.meshgrid(STEP_SIZES, MOMENTA)
    losses = jax.jit(jax.vmap(one))(sizes.ravel(), momenta.ravel())
    return np.nan_to_num(np.asarray(losses), nan=np.inf)


def needed(losses: np.ndarray, least: float, tolerance: float) -> np.ndarray:
    """Steps until the loss is so near to its least, as a share of the first distance.

    Infinite where it never is. ``losses`` may have leading axes.
    """
    gap = (losses - least) / (losses[..., :1] - least)
    first = np.argmax(gap <= tolerance, axis=-1).astype(float)
    return np.where((gap <= tolerance).any(-1), first, np.inf)


class Compared(NamedTuple):
    """All methods on one problem: runs, the heavy ball's grid and the least loss."""

    runs: dict[str, Run]
    grid: np.ndarray
    least: float

    def needed(self, tolerance: float) -> dict[str, float]:
        """Steps to the tolerance by method, the heavy ball's with its best pair."""
        steps = {
            name: float(needed(run.losses, self.least, tolerance))
            for name, run in self.runs.items()
        }
        best = float(needed(self.grid, self.least, tolerance).min())
        return steps | {"heavy ball": best}

    def best_of_grid(self) -> np.ndarray:
        """At each step the least loss of the grid: no single pair is as good."""
        return self.grid.min(axis=0)


def compared(model: Model, steps: int) -> Compared:
    """Line search, plane search, L-BFGS and the heavy ball's grid."""
    runs = {
        # c = 0.5 was the best of 1e-4, 0.1 and 0.5 on all three.
        "line search": run(
            model,
            optaxls.sls(steps_per_epoch=1, c=0.5, decrease_factor=0.5),
            steps,
        ),
        "plane search": run(model, plane_search(), steps, products=True),
        "plane, one model": run(model, plane_search(), steps),
        "L-BFGS": run(model, optax.lbfgs(memory_size=10), steps),
    }
    least = min(run.losses.min() for run in runs.values())
    return Compared(runs, heavy_ball(model, steps), float(least))


def draw(found: dict[str, Compared]) -> Figure:
    """Distance from the least loss, by steps."""
    figure, panes = panels(list(found))
    colors = {
        "line search": BLACK,
        "plane search": BLUE,
        "plane, one model": SKY,
        "L-BFGS": GREEN,
    }
    for axes, of_one in zip(panes, found.values(), strict=True):
        for name, one in of_one.runs.items():
            gap = np.maximum(one.losses - of_one.least, 1e-16)
            axes.semilogy(gap, color=colors[name], label=name)
        best = np.maximum(of_one.best_of_grid() - of_one.least, 1e-16)
        axes.semilogy(best, color=ORANGE, label="heavy ball, best of 65")
        axes.set_xlim(0, 100)
        axes.set_ylim(1e-12, 10)
        axes.set_xlabel("steps")
    panes[0].set_ylabel("loss above the least")
    panes[0].legend(loc="upper right", bbox_to_anchor=(1.08, 0.62), **LEGEND)
    return figure


def checks_of(found: dict[str, Compared]) -> tuple[Check, ...]:
    """On the linear models by steps, on two layers by the loss after 50."""
    linear = [found[name] for name in list(found)[:2]]
    of_tolerances = [of_one.needed(t) for of_one in linear for t in TOLERANCES]

    def worst(other: str) -> float:
        return max(steps["plane search"] / steps[other] for steps in of_tolerances)

    layers = found["digits, two layers"]
    after = 50
    reached = layers.runs["plane search"].losses[after]
    trials = max(of_one.runs["plane search"].num_trials for of_one in linear)
    said = "linear, 1e-4 and 1e-6: steps / those of"
    return (
        at_most(f"{said} the tuned heavy ball", worst("heavy ball"), 0.5),
        at_most(f"{said} the line search", worst("line search"), 0.35),
        at_most(f"{said} L-BFGS", worst("L-BFGS"), 1.25),
        at_most(
            "two layers, 50 steps: loss / tuned heavy ball's",
            float(reached / layers.best_of_grid()[after]), 1e-3,
        ),
        at_most("linear: trials a step of the search behind it", trials, 1.1),
    )  # fmt: skip


def findings_of(found: dict[str, Compared]) -> tuple[str, ...]:
    """Steps by problem, and how often the momentum was negative."""
    told = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{method} {steps:.0f}" for method, steps in of_one.needed(1e-6).items()
        )
        for name, of_one in list(found.items())[:2]
    )
    layers = found["digits, two layers"]
    losses = {name: run.losses[50] for name, run in layers.runs.items()}
    losses["heavy ball"] = layers.best_of_grid()[50]
    signs = [
        of_one.runs["plane, one model"].momentum[1:50] < 0 for of_one in found.values()
    ]
    negative = np.mean(np.concatenate(signs))
    return (
        f"Steps to a millionth of the first distance: {told}.",
        "Two layers, loss after 50 steps: "
        + ", ".join(f"{loss:.1e} ({name})" for name, loss in losses.items())
        + ".",
        "With one quadratic model of the loss in place of cached products, which any"
        " loss allows, the plane search takes up to twice the steps.",
        f"A step back along the last displacement was right in {100 * negative:.0f} %"
        " of the first 50 steps.",
        "These are steps. One of the plane search costs three products with the data"
        " beside the gradient's two, and one for the test behind it; keeping those of"
        " the step before would save one.",
    )


def measure() -> Claim:
    """Five methods on three problems, in float64."""
    with jax.enable_x64(True):
        found = {
            name: compared(model, LAYERS_STEPS if "layers" in name else STEPS)
            for name, model in models().items()
        }
    return Claim(
        title="Plane search",
        says="Searching for step size and momentum together, in the plane of gradient"
        " and last displacement, needs far fewer steps than a line search or a tuned"
        " heavy ball; where the model is linear in its params, trials are nearly free.",
        checks=checks_of(found),
        findings=findings_of(found),
        figure=draw(found),
        source="Shea, Schmidt 2024 (arXiv:2406.17954)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "plane_search"))
