"""SGD with a constant step converges at a linear rate where every example can be fit.

Under the strong growth condition E|g_i|^2 <= rho |grad f|^2 the step 1 / (rho L) gives
E f(w_k) - f* <= (1 - mu / (rho L))^k (f(w_0) - f*): no decreasing step, no variance
reduction. Held against the bound at every step, on least squares, where rho is known.

python -m examples.talk.strong_growth
"""

import sys
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

from examples.talk.claim import Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, panels
from examples.talk.problems_rates import (
    Constants,
    LeastSquares,
    constants,
    decline,
    descents,
    examples_drawn,
)

SEEDS = 10
EVERY = 10
PRACTICAL_STEPS = 5000


class Curves(NamedTuple):
    """Excess losses of the runs, and the bound on their mean.

    Attributes:
        known: the problem's constants.
        steps: numbers of steps at which all of it is recorded, (records,).
        safe: with the step 1 / (rho L), (seeds, records).
        bound: (1 - mu / (rho L))^k f(w_0), (records,).
        practical: with the step 1 / L_max, (seeds, practical records).
    """

    known: Constants
    steps: np.ndarray
    safe: np.ndarray
    bound: np.ndarray
    practical: np.ndarray


def problem() -> LeastSquares:
    """500 examples in 20 features that a linear function fits exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 20)) * np.sqrt(np.geomspace(1, 0.1, 20))
    return LeastSquares(x, x @ rng.standard_normal(20))


def bound_of(known: Constants, steps: np.ndarray, first: float) -> np.ndarray:
    """What theory allows the mean excess loss to be after so many steps."""
    return first * (1 - known.mu / (known.growth * known.smoothness)) ** steps


def curves() -> Curves:
    """Ten seeds with each of the two step sizes."""
    task = problem()
    known = constants(task.x)
    safe_step = 1 / (known.growth * known.smoothness)
    num_steps = int(6 / (safe_step * known.mu)) // EVERY * EVERY

    def run(step_size: float, num_steps: int) -> np.ndarray:
        return descents(
            task.example_loss,
            optax.sgd,
            np.full(SEEDS, step_size),
            np.zeros((SEEDS, task.x.shape[1])),
            examples_drawn(len(task.x), SEEDS, num_steps),
            full_loss=task.full_loss,
            every=EVERY,
        )

    with jax.enable_x64(True):
        safe = run(safe_step, num_steps)
        practical = run(1 / known.largest, PRACTICAL_STEPS)
    steps = np.arange(safe.shape[1]) * EVERY
    bound = bound_of(known, steps, float(safe[0, 0]))
    return Curves(known, steps, safe, bound, practical)


def draw(found: Curves) -> Figure:
    """Each run, the mean and the bound; beside it the larger step."""
    figure, (left, right) = panels(
        [r"the step of theory, $1/(\rho L)$", r"a larger one, $1/L_{\max}$"]
    )
    left.semilogy(found.steps, found.safe.T, color=BLUE, alpha=0.25, lw=0.6)
    left.semilogy(found.steps, found.safe.mean(0), color=BLUE, label="mean of 10 runs")
    left.semilogy(found.steps, found.bound, color=BLACK, ls="--", label="its bound")
    left.legend(loc="lower left", **LEGEND)
    steps = np.arange(found.practical.shape[1]) * EVERY
    right.semilogy(steps, found.practical.T, color=GREEN, alpha=0.25, lw=0.6)
    right.semilogy(steps, found.practical.mean(0), color=GREEN, label="mean of 10 runs")
    bound = bound_of(found.known, steps, float(found.practical[0, 0]))
    right.semilogy(steps, bound, color=BLACK, ls="--", label="bound for the small step")
    right.legend(loc="upper right", **LEGEND, bbox_to_anchor=(1, 0.85))
    for axes in (left, right):
        axes.set_xlabel("steps of SGD, one example each")
    left.set_ylabel("training loss, f* = 0")
    return figure


def measure() -> Claim:
    """The mean curve against its bound, and its slope against theory's."""
    found = curves()
    known = found.known
    mean = found.safe.mean(0)
    worst = float(np.max(mean / found.bound))
    theory = -np.log1p(-known.mu / (known.growth * known.smoothness))
    slope = decline(mean, EVERY) / theory
    practical = found.practical.mean(0)
    faster = decline(practical, EVERY) / decline(mean, EVERY)
    return Claim(
        title="A constant step is enough under interpolation",
        says="Where one model fits every example, SGD with a constant step converges"
        " as fast as a straight line on a log scale, with no step-size schedule.",
        checks=(
            at_most("mean loss / its bound, at every record", worst, 1.05),
            at_least("fall per step / the fall that theory promises", slope, 1.0),
        ),
        findings=(
            f"The constants are ρ = {known.growth:.0f} and"
            f" κ = L/μ = {known.smoothness / known.mu:.1f}; ρ is computed exactly, as"
            " it can be for least squares.",
            f"The bound is pessimistic: the mean loss fell {slope:.2f} times as fast.",
            f"The step 1/L_max, {known.growth * known.smoothness / known.largest:.0f}"
            f" times as long, needs no ρ and went from {practical[0]:.2g} to"
            f" {practical[-1]:.1g} in {PRACTICAL_STEPS} steps, {faster:.0f} times as"
            " fast.",
        ),
        figure=draw(found),
        source="Vaswani, Bach, Schmidt 2019 (arXiv:1810.07288);"
        " Schmidt, Le Roux 2013 (arXiv:1308.6370)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "strong_growth"))
