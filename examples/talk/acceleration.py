"""Acceleration under strong growth: what is safe, what diverges, what is out of reach.

The talk's row for accelerated SGD is sqrt(rho kappa) steps. Shown here, on quadratics
of which SGD sees one coordinate at a time (so that rho is their dimension, exactly):
the safe three-sequence form takes rho sqrt(kappa); Nesterov's momentum with the step
1 / (rho L) diverges unless rho is below 2 or so; and sqrt(rho kappa) is reached where
the momentum gets the full gradient, which a stochastic method does not have.

python -m examples.talk.acceleration
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, panels
from examples.talk.problems_rates import descents, examples_drawn

TOLERANCE = 1e-6
SEEDS = 8


class Quadratic(NamedTuple):
    """f_i(w) = a_i w_i^2 / 2 and f their mean, a from 1 / kappa to 1.

    A batch of B coordinates has rho = 1 + (dimension - 1) / B.
    """

    dimension: int
    kappa: float
    batch_size: int = 1

    @property
    def curvatures(self) -> np.ndarray:
        """The a_i."""
        return np.geomspace(1 / self.kappa, 1, self.dimension)

    @property
    def growth(self) -> float:
        """rho: E|g|^2 = rho |grad f|^2 when d |grad f|^2 = E|g_i|^2."""
        return 1 + (self.dimension - 1) / self.batch_size

    @property
    def mu(self) -> float:
        """Smallest curvature of f."""
        return 1 / (self.dimension * self.kappa)

    @property
    def step_size(self) -> float:
        """1 / (rho L), with L = 1 / dimension."""
        return self.dimension / self.growth


class Run(NamedTuple):
    """Mean over the seeds of f / f(w_0), and the steps at which it is known."""

    steps: np.ndarray
    losses: np.ndarray

    @property
    def needed(self) -> float:
        """Steps to the tolerance; infinite if it was not reached."""
        below = np.nonzero(self.losses <= TOLERANCE)[0]
        return float(self.steps[below[0]]) if len(below) else float("inf")

    @property
    def diverged(self) -> bool:
        """Whether the loss is a million times what it was, or no number."""
        return not bool(np.nanmax(self.losses[-10:]) < 1e6)


def sgd(task: Quadratic) -> optax.GradientTransformation:
    """SGD with the step 1 / (rho L)."""
    return optax.sgd(task.step_size)


def safe(task: Quadratic) -> optax.GradientTransformation:
    """The form of 2019, purely stochastic: rho sqrt(kappa)."""
    return optaxls.accelerated_sgd(
        growth_constant=task.growth,
        smoothness=1 / task.dimension,
        strong_convexity=task.mu,
    )


def nesterov(task: Quadratic) -> optax.GradientTransformation:
    """Nesterov's momentum, as it stands in every library."""
    s = np.sqrt(task.mu * task.step_size)
    return optax.sgd(task.step_size, momentum=(1 - s) / (1 + s), nesterov=True)


def with_full_momentum(task: Quadratic, steps: int, seeds: int) -> Run:
    """Stochastic steps, momentum of the full gradient: sqrt(rho kappa).

    Nesterov's sequences w, v and y with s = sqrt(mu step_size), in which v moves by the
    full gradient and w by that of the drawn coordinates, both taken at y.
    """
    every = max(1, steps // 400)
    steps = steps // every * every
    curvatures = jnp.asarray(task.curvatures)
    mu, s = task.mu, np.sqrt(task.mu * task.step_size)
    drawn = examples_drawn(task.dimension, seeds, steps, task.batch_size)

    def step(sequences, rows):
        y, v = sequences
        grad = jnp.zeros_like(y).at[rows].add(curvatures[rows] * y[rows] / len(rows))
        w = y - task.step_size * grad
        v = (1 - s) * v + s * y - s / mu * curvatures / task.dimension * y
        y = (s * v + w) / (1 + s)
        return (y, v), jnp.mean(curvatures * y**2) / 2

    def losses(rows):
        start = jnp.ones(task.dimension)
        first = jnp.mean(curvatures) / 2
        _, told = jax.lax.scan(step, (start, start), rows)
        return jnp.concatenate([first[None], told[every - 1 :: every]])

    found = np.asarray(jax.jit(jax.vmap(losses))(jnp.asarray(drawn)))
    return Run(np.arange(found.shape[1]) * every, found.mean(0) / found[0, 0])


def run(
    task: Quadratic,
    method: Callable[[Quadratic], optax.GradientTransformation],
    steps: int,
    seeds: int = SEEDS,
) -> Run:
    """From all ones, some 400 records on the way."""
    every = max(1, steps // 400)
    steps = steps // every * every
    curvatures = jnp.asarray(task.curvatures)
    drawn = examples_drawn(task.dimension, seeds, steps, task.batch_size)
    losses = descents(
        lambda w, rows: jnp.mean(curvatures[rows] * w[rows] ** 2) / 2,
        lambda _: method(task),
        np.zeros(seeds),
        np.ones((seeds, task.dimension)),
        drawn,
        full_loss=lambda w: jnp.mean(curvatures * w**2) / 2,
        every=every,
    )
    return Run(np.arange(losses.shape[1]) * every, losses.mean(0) / losses[0, 0])


class BySize(NamedTuple):
    """One dimension (rho), kappa = 1000, one coordinate a step."""

    growth: float
    sgd: Run
    safe: Run
    full_momentum: Run
    nesterov: Run


class ByBatch(NamedTuple):
    """One batch size in 20 dimensions: rho shrinks, kappa = 1000 stays."""

    growth: float
    safe: Run
    nesterov: Run


class OneCurvature(NamedTuple):
    """50 dimensions, kappa = 1: what has not been drawn has not moved."""

    sgd: Run
    safe: Run
    full_momentum: Run
    bound: np.ndarray


def by_size(dimension: int) -> BySize:
    """All four methods, as many steps as each needs."""
    task = Quadratic(dimension, 1e3)
    return BySize(
        task.growth,
        run(task, sgd, 4000 * dimension),
        run(task, safe, 250 * dimension),
        with_full_momentum(task, int(400 * dimension**0.5), SEEDS),
        run(task, nesterov, 600),
    )


def by_batch(batch_size: int) -> ByBatch:
    """Two of them, as long as the momentum needs."""
    task = Quadratic(20, 1e3, batch_size)
    return ByBatch(task.growth, run(task, safe, 6000), run(task, nesterov, 1200))


def one_curvature() -> OneCurvature:
    """Many seeds: the bound is on the mean."""
    task = Quadratic(50, 1.0)
    plain, accelerated = (run(task, method, 400, 256) for method in (sgd, safe))
    exact = with_full_momentum(task, 400, 256)
    bound = (1 - 1 / task.dimension) ** plain.steps
    return OneCurvature(plain, accelerated, exact, bound)


def _draw_sizes(axes: Axes, sizes: list[BySize]) -> None:
    growths = np.array([found.growth for found in sizes])
    for name, color, label in (
        ("sgd", BLACK, "SGD"),
        ("safe", BLUE, "safe form"),
        ("full_momentum", GREEN, "full-gradient momentum"),
    ):
        needed = [getattr(found, name).needed for found in sizes]
        axes.loglog(growths, needed, "o-", color=color, ms=4, label=label)
    axes.set_xlim(8, 200)
    axes.set_ylim(200, 3e7)
    axes.set_xticks(growths, [f"{growth:.0f}" for growth in growths])
    axes.minorticks_off()
    axes.legend(loc="upper left", **LEGEND)
    axes.set_xlabel("ρ")
    axes.set_ylabel("steps to 10⁻⁶ of the first loss")


def _draw_batches(axes: Axes, batches: list[ByBatch]) -> None:
    for found, color in zip(batches, (ORANGE, PINK, GREEN, BLUE), strict=False):
        axes.semilogy(found.nesterov.steps, found.nesterov.losses, color=color,
                      label=f"ρ = {found.growth:.3g}")  # fmt: skip
    axes.set_xlim(0, 400)
    axes.set_ylim(1e-8, 1e6)
    axes.legend(loc="upper right", **LEGEND)
    axes.set_xlabel("steps")
    axes.set_ylabel("loss / first loss")


def _draw_bound(axes: Axes, found: OneCurvature) -> None:
    steps = found.sgd.steps
    axes.semilogy(steps, found.safe.losses, color=BLUE, label="safe form")
    axes.semilogy(steps, found.sgd.losses, color=BLACK, lw=0.8, label="SGD")
    axes.semilogy(steps, found.bound, color=ORANGE, ls="--", lw=1,
                  label="limit for any method\nof stochastic gradients")  # fmt: skip
    axes.semilogy(steps, found.full_momentum.losses, color=GREEN,
                  label="full-gradient momentum")  # fmt: skip
    axes.set_xlim(0, 400)
    axes.set_ylim(1e-9, 1e6)
    axes.legend(loc="upper right", **LEGEND)
    axes.set_xlabel("steps")
    axes.set_ylabel("mean loss / first loss")


def draw(sizes: list[BySize], batches: list[ByBatch], flat: OneCurvature) -> Figure:
    """Steps against rho, Nesterov's momentum, and the limit."""
    figure, (left, middle, right) = panels(
        ["κ = 1000: steps needed", "Nesterov's momentum", "κ = 1, ρ = 50"]
    )
    _draw_sizes(left, sizes)
    _draw_batches(middle, batches)
    _draw_bound(right, flat)
    return figure


def checks_of(sizes: list[BySize], batches: list[ByBatch]) -> tuple[Check, ...]:
    """What claims.md expects of them."""
    grown = [
        (after.safe.needed / before.safe.needed, before.growth, after.growth)
        for before, after in zip(sizes, sizes[1:], strict=False)
    ]
    large = [found.nesterov for found in sizes] + [
        found.nesterov for found in batches if found.growth >= 10
    ]
    small = [found for found in batches if found.growth <= 2]
    return (
        at_least(
            "ρ 10, 40, 160: steps of SGD / of the safe form, lowest",
            min(found.sgd.needed / found.safe.needed for found in sizes), 10,
        ),
        *(
            Check(f"safe form, ρ {low:.0f} to {high:.0f}: steps times, in [2.5, 5.5]",
                  f"{factor:.4g}", 2.5 <= factor <= 5.5)
            for factor, low, high in grown
        ),
        Check(
            "ρ ≥ 10: Nesterov's momentum diverges (loss × 1e6 or more)",
            f"{sum(found.diverged for found in large)} of {len(large)}",
            all(found.diverged for found in large),
        ),
        at_most(
            "ρ ≤ 2: steps of Nesterov's momentum / of the safe form",
            max(found.nesterov.needed / found.safe.needed for found in small), 1,
        ),
    )  # fmt: skip


def findings_of(
    sizes: list[BySize], batches: list[ByBatch], flat: OneCurvature
) -> tuple[str, ...]:
    """What holds of the talk's rate, and what does not."""
    first, last = sizes[0], sizes[-1]
    grown = last.growth / first.growth
    told = "; ".join(
        f"at ρ = {found.growth:.3g} "
        + (
            f"diverged (safe form: {found.safe.needed:.0f} steps)"
            if found.nesterov.diverged
            else f"{found.nesterov.needed:.0f} steps against the safe form's"
            f" {found.safe.needed:.0f}, with a highest loss of"
            f" {found.nesterov.losses.max():.3g} times the first"
        )
        for found in batches
    )
    late = int(np.searchsorted(flat.sgd.steps, 200))
    return (
        f"From ρ = {first.growth:.0f} to {last.growth:.0f} the safe form's steps grow"
        f" {last.safe.needed / first.safe.needed:.1f} times; with the talk's √(ρκ)"
        f" they would grow {grown**0.5:.0f} times, with ρ√κ {grown:.0f} times.",
        "No method of stochastic gradients alone can reach √(ρκ) in general: where one"
        " coordinate of 50 is drawn a step and κ = 1, one not yet drawn keeps its"
        " error, so that the mean loss after 200 steps is at least"
        f" {flat.bound[late]:.3f} of the first; SGD has"
        f" {flat.sgd.losses[late]:.3f}, the safe form {flat.safe.losses[late]:.3f}.",
        "With the full gradient in the momentum, which costs a pass over the data, the"
        f" steps from ρ = {first.growth:.0f} to {last.growth:.0f} grow"
        f" {last.full_momentum.needed / first.full_momentum.needed:.1f} times"
        f" ({first.full_momentum.needed:.0f} to {last.full_momentum.needed:.0f}), as"
        " √ρ would.",
        f"Nesterov's momentum with the step 1/(ρL), by batch size: {told}.",
    )


def measure() -> Claim:
    """Four methods by rho, two by batch size, and the limit at kappa = 1."""
    with jax.enable_x64(True):
        sizes = [by_size(dimension) for dimension in (10, 40, 160)]
        batches = [by_batch(size) for size in (1, 5, 10, 20, 80)]
        flat = one_curvature()
    return Claim(
        title="Accelerated SGD",
        says="The talk gives √(ρκ) steps for SGD with acceleration, against ρκ without;"
        " the form that is safe with stochastic gradients takes ρ√κ, still far fewer"
        " than SGD on ill-conditioned problems.",
        checks=checks_of(sizes, batches),
        findings=findings_of(sizes, batches, flat),
        figure=draw(sizes, batches, flat),
        source="Vaswani, Bach, Schmidt 2019 (arXiv:1810.07288); Mishkin, Pilanci,"
        " Schmidt 2024 (arXiv:2404.02378); Gupta, Siegel, Wojtowytsch 2024"
        " (arXiv:2302.05515)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "acceleration"))
