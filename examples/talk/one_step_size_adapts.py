"""One rule for the step of SGD gives each class of functions the rate it deserves.

Where every f_i can be fit, the step 1 / L_max (L_max the largest smoothness of one f_i)
converges linearly on strongly convex functions, linearly under the Polyak-Lojasiewicz
inequality too, whether convex or not, and like 1 / k on functions that are just convex.
Nothing has to be known of which class it is.

python -m examples.talk.one_step_size_adapts
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from examples.talk.claim import Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, panels
from examples.talk.problems_rates import (
    LeastSquares,
    constants,
    decline,
    descents,
    examples_drawn,
)

SEEDS = 8
# Below this share of the first loss a curve shows rounding.
ROUNDING = 1e-25


class Stochastic(NamedTuple):
    """SGD with the step 1 / L_max, one example a step.

    Attributes:
        every: steps between two records.
        losses: of each run, (runs, records).
        promised: fall of the log of the mean loss per step that theory promises, 0
            where it promises none.
    """

    every: int
    losses: np.ndarray
    promised: float

    @property
    def mean(self) -> np.ndarray:
        """Mean over the runs at every record."""
        return self.losses.mean(0)

    def at(self, step: int) -> float:
        """The mean loss after so many steps."""
        return float(self.mean[step // self.every])


class Deterministic(NamedTuple):
    """Gradient descent with the step 1 / L, and the bound (1 - mu / L)^k f(w_0).

    Attributes:
        losses: of each run, (runs, records).
        rate: mu / L.
    """

    losses: np.ndarray
    rate: float

    @property
    def worst(self) -> float:
        """Largest loss / bound, as long as the bound is above rounding."""
        bound = (1 - self.rate) ** np.arange(self.losses.shape[1])
        ratio = self.losses / self.losses[:, :1] / bound
        return float(ratio[:, bound > ROUNDING].max())


def well_conditioned() -> LeastSquares:
    """Strongly convex: 200 examples of 10 features, fit exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10)) * np.sqrt(np.geomspace(1, 0.3, 10))
    return LeastSquares(x, x @ rng.standard_normal(10))


def rank_deficient() -> LeastSquares:
    """Convex and PL but not strongly convex: 30 examples of 100 features."""
    rng = np.random.default_rng(0)
    return LeastSquares(rng.standard_normal((30, 100)), rng.standard_normal(30))


def least_squares_runs(task: LeastSquares, steps: int, every: int) -> Stochastic:
    """From zero; mu is the smallest nonzero eigenvalue."""
    known = constants(task.x)
    losses = _runs(
        task.example_loss,
        task.full_loss,
        1 / known.largest,
        np.zeros((SEEDS, task.x.shape[1])),
        examples_drawn(len(task.x), SEEDS, steps),
        every,
    )
    return Stochastic(every, losses, float(-np.log1p(-known.mu / known.largest)))


def logistic_runs(steps: int = 32_000, every: int = 250) -> Stochastic:
    """Convex, separable: the infimum 0 is approached at infinity, so no rate is."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10))
    normal = rng.standard_normal(10)
    normal /= np.linalg.norm(normal)
    labels = np.sign(x @ normal)[:, None]
    x = x + 0.3 * labels * normal
    signed = jnp.asarray(labels * x)

    def example_loss(w: jax.Array, row: jax.Array) -> jax.Array:
        return jax.nn.softplus(-signed[row] @ w)

    def full_loss(w: jax.Array) -> jax.Array:
        return jnp.mean(jax.nn.softplus(-signed @ w))

    largest = float(np.sum(x**2, axis=1).max() / 4)
    rows = examples_drawn(200, SEEDS, steps)
    start = np.zeros((SEEDS, 10))
    return Stochastic(
        every, _runs(example_loss, full_loss, 1 / largest, start, rows, every), 0.0
    )


def wave(w: jax.Array) -> jax.Array:
    """w^2 + 3 sin^2 w: not convex, yet PL, with mu = 1/32 and L = 8."""
    return w**2 + 3 * jnp.sin(w) ** 2


def wave_runs() -> Stochastic:
    """f_i = a_i (w^2 + 3 sin^2 w) / 2 with a_i in (0.5, 1.5), from three starts."""
    factors = np.random.default_rng(0).uniform(0.5, 1.5, 100)
    scales = jnp.asarray(factors)
    losses = _runs(
        lambda w, row: scales[row] * wave(w) / 2,
        lambda w: jnp.mean(scales) * wave(w) / 2,
        1 / (4 * factors.max()),
        np.array([3.0, -2.2, 7.0]),
        examples_drawn(100, 3, 100),
        1,
    )
    return Stochastic(1, losses, 0.0)


def wave_descent() -> Deterministic:
    """Gradient descent on the wave from four starts."""
    start = np.array([3.0, -2.2, 7.0, 20.0])
    losses = _runs(lambda w, _: wave(w), wave, 1 / 8, start, np.zeros((4, 2000)), 1)
    return Deterministic(losses, 1 / 32 / 8)


def rank_deficient_descent() -> Deterministic:
    """Gradient descent on the convex problem without strong convexity."""
    task = rank_deficient()
    known = constants(task.x)
    losses = _runs(
        lambda w, _: task.full_loss(w), task.full_loss, 1 / known.smoothness,
        np.zeros((1, task.x.shape[1])), np.zeros((1, 600)), 1,
    )  # fmt: skip
    return Deterministic(losses, known.mu / known.smoothness)


def _runs(
    loss_fn: Callable[..., jax.Array],
    full_loss: Callable[[Any], jax.Array],
    step_size: float,
    start: np.ndarray,
    batches: np.ndarray,
    every: int,
) -> np.ndarray:
    return descents(
        loss_fn, optax.sgd, np.full(len(start), step_size), start, batches,
        full_loss=full_loss, every=every,
    )  # fmt: skip


def draw(
    strong: Stochastic, flat: Stochastic, wavy: Stochastic, convex: Stochastic
) -> Figure:
    """Straight lines on a log scale where they are promised, a bend where not."""
    figure, (left, middle, right) = panels(["linear", "linear, not convex", "like 1/k"])
    for found, color, name in (
        (strong, BLUE, "strongly convex"),
        (flat, GREEN, "fewer examples\nthan features"),
    ):
        steps = np.arange(len(found.mean)) * found.every
        shown = found.mean > ROUNDING * found.mean[0]
        left.semilogy(steps[shown], found.mean[shown], color=color, label=name)
        bound = found.mean[0] * np.exp(-found.promised * steps)
        left.semilogy(steps, bound, color=color, ls="--", lw=1)
    left.plot([], [], color=BLACK, ls="--", lw=1, label="promised")
    left.set_ylim(1e-24, 1e9)
    left.legend(loc="upper right", **LEGEND)
    middle.semilogy(wavy.losses[:, :51].T, color=PINK, lw=1)
    middle.set_ylim(1e-50, 1e6)
    middle.text(2, 1e-36, "w² + 3 sin² w,\nthree starts", fontsize=7, color=PINK)
    steps = np.arange(1, len(convex.mean)) * convex.every
    right.loglog(steps, convex.mean[1:], color=ORANGE)
    right.loglog(steps, convex.mean[1] * steps[0] / steps, color=BLACK, ls="--", lw=1)
    right.text(900, convex.mean[4] * 1.5, "separable logistic", fontsize=7,
               color=ORANGE)  # fmt: skip
    right.text(900, convex.mean[-1] * 2.5, "1 / k", fontsize=7)
    left.set_ylabel("training loss (mean of runs)")
    for axes in (left, middle, right):
        axes.set_xlabel("steps, one example each")
    return figure


def measure() -> Claim:
    """Slopes against those promised, and how far the sublinear one is from 1/k."""
    with jax.enable_x64(True):
        strong = least_squares_runs(well_conditioned(), 1500, 10)
        flat = least_squares_runs(rank_deficient(), 3000, 10)
        convex, wavy = logistic_runs(), wave_runs()
        wave_gd, flat_gd = wave_descent(), rank_deficient_descent()
    growth = (32_000 * convex.at(32_000)) / (500 * convex.at(500))
    slopes = [
        decline(found.mean, found.every, ROUNDING) / found.promised
        for found in (strong, flat)
    ]
    return Claim(
        title="One step size adapts to the problem",
        says="Under interpolation SGD with the one step 1/L_max is fast where the"
        " function allows it (strongly convex, or PL, convex or not) and like 1/k"
        " where it is just convex, without knowing which.",
        checks=(
            at_least("strongly convex: fall per step / promised", slopes[0], 0.9),
            at_least("PL, rank-deficient: fall per step / promised", slopes[1], 0.9),
            at_most("convex: growth of k f(w_k), steps 500 to 32000", growth, 4.0),
            at_most(
                "PL, not convex: highest loss after 50 steps",
                float(wavy.losses[:, 50].max()), 1e-45,
            ),
            at_most("PL, not convex, full gradient: loss / bound", wave_gd.worst, 1.0),
            at_most("PL, rank-deficient, full gradient: same", flat_gd.worst, 1.0),
        ),
        findings=(
            f"After 300 and 1500 steps the strongly convex loss was"
            f" {strong.at(300) / strong.at(0):.0e} and"
            f" {strong.at(1500) / strong.at(0):.0e} of the first; the rank-deficient"
            f" one, whose strong convexity constant is 0, fell to"
            f" {flat.at(3000) / flat.at(0):.0e} in 3000.",
            "The convex loss after 500, 2000, 8000 and 32 000 steps was "
            + ", ".join(f"{convex.at(k):.2g}" for k in (500, 2000, 8000, 32_000))
            + ": its minimum lies at infinity, and log² k / k is what one expects.",
            f"Full gradient steps on the function that is not convex end at"
            f" {wave_gd.losses[:, -1].max():.0e}, on the rank-deficient one at"
            f" {flat_gd.losses[0, -1] / flat_gd.losses[0, 0]:.0e} of the first loss.",
        ),
        figure=draw(strong, flat, wavy, convex),
        source="Vaswani, Bach, Schmidt 2019 (arXiv:1810.07288);"
        " Karimi, Nutini, Schmidt 2016 (the PL inequality)",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(measure, "one_step_size_adapts"))
