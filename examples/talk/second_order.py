"""Second-order steps on mini-batches converge linearly under interpolation, or faster.

The subsampled Newton method with a line search (R-SSN), its Hessian-free form and a
stochastic L-BFGS need no growing batches where every example can be fit; growing them
makes the Newton method superlinear. The step size is optaxls's Armijo search from 1
along each of their directions.

python -m examples.talk.second_order
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, SKY, panels

EXAMPLES, FEATURES = 4000, 20
BATCH, GROWTH = 100, 1.5
STEPS, EARLY = 60, 14
SEEDS = 5
TAU = 1e-6
# Contractions are read off above this share of the first loss.
ROUNDING = 1e-25


class Batch(NamedTuple):
    """Rows and their weights, which add up to 1; a weight of 0 leaves a row out."""

    rows: Any
    weights: Any


class Batches(NamedTuple):
    """The examples of a step: for the gradient and the search, and for the Hessian."""

    gradient: Batch
    curvature: Batch


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Inputs of scales 1 to 0.1, and the weights that fit all their targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, FEATURES)) * np.geomspace(1, 0.1, FEATURES)
    optimum = rng.standard_normal(FEATURES)
    return x, optimum / np.std(x @ optimum)


def log_cosh(residual: jax.Array) -> jax.Array:
    """log cosh r without cancellation near 0."""
    return jnp.log1p(2 * jnp.sinh(residual / 2) ** 2)


def drawn(steps: int, growing: bool, separate: bool = True) -> Batches:
    """Batches for all seeds, `(seeds, steps, ...)`: 100 rows, or 100 * 1.5^k of them.

    Args:
        steps: their number.
        growing: up to all examples, by weights, so that shapes stay the same.
        separate: other rows for the Hessian than for the gradient, as the theory has
            it.
    """
    rng = np.random.default_rng(1)
    kept = EXAMPLES if growing else BATCH
    factor = GROWTH if growing else 1.0
    batches = optaxls.growing_batches(BATCH, factor, dataset_size=EXAMPLES)
    sizes = np.array([batches.batch_size(step) for step in range(steps)])
    weights = (np.arange(kept) < sizes[:, None]) / sizes[:, None]
    weights = np.broadcast_to(weights, (SEEDS, steps, kept))

    def batch() -> Batch:
        orders = rng.permuted(
            np.broadcast_to(np.arange(EXAMPLES), (SEEDS, steps, EXAMPLES)), axis=-1
        )
        return Batch(orders[..., :kept], weights)

    gradient = batch()
    return Batches(gradient, batch() if separate else gradient)


def losses(optimizer: Any, batches: Batches) -> np.ndarray:
    """The full loss before the first step and after each, `(seeds, steps + 1)`."""
    x, optimum = (jnp.asarray(array) for array in problem())

    def loss_on(batch: Batch) -> Callable[[jax.Array], jax.Array]:
        rows = x[batch.rows]
        return lambda w: batch.weights @ log_cosh(rows @ (w - optimum))

    def full_loss(w: jax.Array) -> jax.Array:
        return jnp.mean(log_cosh(x @ (w - optimum)))

    def step(carry, batches: Batches):
        w, state = carry
        value_fn = loss_on(batches.gradient)
        value, grad = jax.value_and_grad(value_fn)(w)
        updates, state = optimizer.update(
            grad, state, w, value=value, grad=grad, value_fn=value_fn,
            curvature_value_fn=loss_on(batches.curvature),
        )  # fmt: skip
        w = w + updates
        return (w, state), full_loss(w)

    def run(batches: Batches) -> jax.Array:
        start = jnp.zeros(FEATURES)
        _, told = jax.lax.scan(step, (start, optimizer.init(start)), batches)
        return jnp.concatenate([full_loss(start)[None], told])

    return np.asarray(jax.jit(jax.vmap(run))(jax.tree.map(jnp.asarray, batches)))


class Curves(NamedTuple):
    """Mean full losses over the seeds, first loss included.

    Attributes:
        methods: with constant batches, by name, (STEPS + 1,) each.
        growing: R-SSN with growing batches, (EARLY + 1,).
        same: R-SSN with the same constant batch for gradient and Hessian, as long.
    """

    methods: dict[str, np.ndarray]
    growing: np.ndarray
    same: np.ndarray


def curves() -> Curves:
    """Four methods on the same gradients' batches, and two ways to draw others."""
    methods = {
        "SLS": optaxls.sls(steps_per_epoch=EXAMPLES / BATCH),
        "R-SSN": optaxls.newton(damping=TAU),
        "Hessian-free": optaxls.hessian_free(damping=TAU),
        "stochastic L-BFGS": optaxls.stochastic_lbfgs(),
    }
    with jax.enable_x64(True):
        constant = drawn(STEPS, growing=False)
        found = {
            name: losses(method, constant).mean(0) for name, method in methods.items()
        }
        growing = losses(optaxls.newton(damping=TAU), drawn(EARLY, growing=True)).mean(
            0
        )
        same = drawn(EARLY, growing=False, separate=False)
        together = losses(optaxls.newton(damping=TAU), same).mean(0)
    return Curves(found, growing, together)


def contractions(curve: np.ndarray) -> np.ndarray:
    """Each loss divided by the one before, while both are above rounding."""
    above = curve > ROUNDING * curve[0]
    kept = len(curve) if above.all() else int(np.argmin(above))
    return curve[1:kept] / curve[: kept - 1]


def draw(found: Curves) -> Figure:
    """All methods with constant batches; the first steps of three kinds of batches."""
    figure, (left, right) = panels(
        [f"batches of {BATCH}", "R-SSN: how the batches are drawn"]
    )
    colors = (BLACK, BLUE, SKY, ORANGE)
    for (name, curve), color in zip(found.methods.items(), colors, strict=True):
        left.semilogy(curve, color=color, label=name)
    left.set_ylim(1e-20, 10)
    left.legend(loc="lower left", **LEGEND)
    left.set_ylabel("training loss (mean of 5 runs)")
    right.semilogy(found.methods["R-SSN"][: EARLY + 1], "o-", color=BLUE, ms=3,
                   label=f"{BATCH} rows, others for the Hessian")  # fmt: skip
    right.semilogy(found.growing, "o-", color=GREEN, ms=3,
                   label=f"{GROWTH} times more rows each step")  # fmt: skip
    right.semilogy(found.same, "o-", color=PINK, ms=3,
                   label=f"{BATCH} rows, the same for the Hessian")  # fmt: skip
    right.set_ylim(1e-32, 1e12)
    right.set_xticks(range(0, EARLY + 1, 2))
    right.legend(loc="upper left", **LEGEND)
    for axes in (left, right):
        axes.set_xlabel("steps")
    return figure


def measure() -> Claim:
    """Ends of the curves against each other, and how the contraction shrinks."""
    found = curves()
    ends = {name: float(curve[-1]) for name, curve in found.methods.items()}
    ratios = contractions(found.growing)
    shrunk = float(ratios[-1] / ratios[0])
    early = float(found.growing[-1] / found.methods["R-SSN"][EARLY])
    checks: tuple[Check, ...] = (
        at_most("60 steps: loss of R-SSN / of SLS", ends["R-SSN"] / ends["SLS"], 1e-6),
        at_most(
            "60 steps: loss of Hessian-free / of SLS",
            ends["Hessian-free"] / ends["SLS"], 1e-6,
        ),
        at_most("14 steps: loss, growing / constant batches", early, 1e-6),
        at_most("growing batches: last contraction / first", shrunk, 0.2),
    )  # fmt: skip
    return Claim(
        title="Second-order steps under interpolation",
        says="Where every example can be fit, Newton steps on mini-batches with a line"
        " search converge linearly though the batches stay small, and faster than"
        " linearly if they grow.",
        checks=checks,
        findings=(
            f"From {found.methods['SLS'][0]:.2f}, the losses after {STEPS} steps are "
            + ", ".join(f"{end:.1e} ({name})" for name, end in ends.items())
            + ".",
            "Growing batches multiplied the loss by "
            + ", ".join(f"{ratio:.2g}" for ratio in ratios)
            + f" in one step after the other; after {EARLY} steps it was"
            f" {found.growing[-1]:.0e}, with constant batches"
            f" {found.methods['R-SSN'][EARLY]:.0e}.",
            "With the same rows for gradient and Hessian, where the method's formula"
            f" has two batches, the loss after {EARLY} steps with {BATCH} rows was"
            f" {found.same[-1]:.0e}: what slows the constant batches down here is that"
            " gradient and Hessian come from different rows.",
            "These are steps, not seconds: R-SSN builds and solves with a matrix of the"
            " size of the parameters, Hessian-free takes up to 10 products, L-BFGS one"
            " more gradient.",
        ),
        figure=draw(found),
        source="Meng, Vaswani, Laradji, Schmidt, Lacoste-Julien 2020"
        " (arXiv:1910.04920)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "second_order"))
