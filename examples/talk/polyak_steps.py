"""The stochastic Polyak step needs no tuning where the data are interpolated.

SPS takes the batch's loss over its squared gradient norm as the step: no search, no
extra forward pass. Trained as they come on five problems that can be fitted exactly and
two that cannot.

    python -m examples.talk.polyak_steps
"""

import sys
from typing import Any, NamedTuple

import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main

SGD_STEPS = (0.01, 0.1, 1.0, 10.0, 100.0)
SEEDS = (0, 1)
# What is added to the denominator: nothing, and what the authors' code adds.
EPS, PUBLISHED_EPS = 0.0, 1e-8


class Comparison(NamedTuple):
    """What one problem showed: losses by epoch, the mean over the seeds.

    Attributes:
        name: of the problem.
        sps: without anything added to the denominator.
        published: with the published 1e-8.
        sgd: by step size first.
    """

    name: str
    sps: np.ndarray
    published: np.ndarray
    sgd: np.ndarray

    @property
    def best_sgd(self) -> int:
        """The step size whose final mean is the lowest."""
        return int(np.argmin(self.sgd[:, -1]))

    @property
    def against_sgd(self) -> float:
        """SPS's final loss in units of the best fixed step's."""
        return float(self.sps[-1] / self.sgd[self.best_sgd, -1])


def settings_of(problem: problems.Problem) -> dict[str, Any]:
    """SPS as published: the smoothed form for networks, the convex one elsewhere."""
    if not problem.name.startswith("network"):
        return {"c": 0.5}
    per_epoch = problem.steps_per_epoch
    return {"c": 0.2, "growth": 2.0, "steps_per_epoch": per_epoch}


def compare(problem: problems.Problem) -> Comparison:
    """Trains one problem with each optimizer."""

    def mean_loss(optimizer_of, settings):
        loss = problems.train_lanes(problem, optimizer_of, settings, SEEDS).loss
        return loss.reshape(len(settings), len(SEEDS), -1).mean(1)

    chosen = settings_of(problem)
    sps, published = mean_loss(
        lambda eps: optaxls.sps(eps=eps, **chosen), (EPS, PUBLISHED_EPS)
    )
    sgd = mean_loss(optax.sgd, SGD_STEPS)
    return Comparison(problem.name, sps, published, sgd)


def _draw_finals(axes: Axes, results: list[Comparison]) -> None:
    """Where each optimizer ended, a row a problem."""
    names = [result.name for result in results]
    marks = {
        "SGD, 5 fixed steps": (pictures.SKY, "|", [r.sgd[:, -1] for r in results]),
        "SPS": (pictures.GREEN, "D", [r.sps[-1:] for r in results]),
    }
    pictures.marked_rows(axes, names, marks)
    axes.set_xlabel("loss of all data")
    axes.set_ylim(-0.6, len(results) + 0.2)
    axes.legend(loc="upper left", ncols=3, columnspacing=1, **pictures.LEGEND)


def draw(results: list[Comparison]) -> Figure:
    """Where each ended, and what the published addition to the denominator does."""
    figure, (left, right) = pictures.panels(
        ["Final loss, mean of 2 seeds", "What 1e-8 in the denominator does"], 3.3
    )
    _draw_finals(left, results)
    exact = next(result for result in results if result.name.endswith("rank 10"))
    lines = {
        f"SGD {SGD_STEPS[exact.best_sgd]:g}": (exact.sgd[exact.best_sgd], pictures.SKY),
        "SPS, published": (exact.published, pictures.ORANGE),
        "SPS, nothing added": (exact.sps, pictures.GREEN),
    }
    for label, (loss, colour) in lines.items():
        right.plot(loss, color=colour, label=label, lw=1.3)
    right.set(yscale="log", xlabel="epochs", ylabel=f"loss, {exact.name}")
    right.legend(loc="upper right", **pictures.LEGEND)
    return figure


def _findings(fits: list[Comparison], misfits: list[Comparison]) -> tuple[str, ...]:
    exact = next(result for result in fits if result.name.endswith("rank 10"))
    fails = ", ".join(
        f"{r.name} ({ratio:.2g})"
        for r in fits[1:]
        if (ratio := r.published[-1] / r.sgd[r.best_sgd, -1]) > 2
    )
    each = ", ".join(f"{r.name} {r.against_sgd:.2g}" for r in fits)
    short = "; ".join(
        f"{r.name}: {r.sps[-1]:.3g} against {r.sgd[r.best_sgd, -1]:.3g} of SGD"
        for r in misfits
    )
    return (
        f"Final loss in units of the best fixed step's: {each}; on the breast cancer "
        "kernel the outcome varies much with the order of the examples.",
        "Where the model cannot fit its data the Polyak step does not reach the lowest "
        "loss, for the loss of a batch has a floor above the 0 that it assumes "
        f"({short}); there it needs a cap, or the batch's true lower bound.",
        "The published code, like our default, adds 1e-8 to the squared gradient norm; "
        f"below that norm its steps vanish: on {exact.name} it stops at "
        f"{exact.published[-1]:.2g}, without it the loss falls to "
        f"{exact.sps[-1]:.2g}. The checks above are without it; with it the first "
        f"fails on: {fails}.",
    )


def measure() -> Claim:
    """Trains all problems; about 30 seconds."""
    fits = [
        compare(problem)
        for problem in (
            problems.kernel_cancer(),
            problems.kernel_digits(),
            problems.least_squares(batch_size=10, epochs=30),
            problems.factorization(10),
            problems.digits_network(),
        )
    ]
    misfits = [compare(problems.factorization(rank)) for rank in (1, 4)]
    return Claim(
        title="Polyak steps need no tuning",
        says="With interpolation the stochastic Polyak step, with nothing to choose "
        "and without a search, ends within a factor of two of the best of a grid of "
        "fixed steps, or lower.",
        checks=(
            at_most(
                "SPS / best of 5 SGD steps, largest of 4 interpolating problems",
                max(result.against_sgd for result in fits[1:]),
                2,
            ),
            at_least(
                "SPS / best SGD step where the model cannot fit, smaller of 2",
                min(result.against_sgd for result in misfits),
                1.2,
            ),
        ),
        findings=_findings(fits, misfits),
        figure=draw(fits + misfits),
        source="Loizou et al., Stochastic Polyak Step-size for SGD, 2021, "
        "arXiv:2002.10542",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "polyak_steps"))
