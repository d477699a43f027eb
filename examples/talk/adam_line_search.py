"""A line search finds the step size of Adam's direction, too.

AMSGrad's preconditioner without momentum, its step found by an Armijo search on the
batch, against Adam with four fixed steps, on four problems that can be fitted exactly.

    python -m examples.talk.adam_line_search
"""

import sys
from typing import NamedTuple

import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main

ADAM_STEPS = (1e-4, 1e-3, 1e-2, 1e-1)
SEEDS = (0, 1)
TARGET = 1e-2


class Comparison(NamedTuple):
    """What one problem showed: losses by epoch.

    Attributes:
        name: of the problem.
        searched: AMSGrad with a line search, seeds first.
        adam: step sizes first, then seeds.
        trials: of every searched step, flat.
    """

    name: str
    searched: np.ndarray
    adam: np.ndarray
    trials: np.ndarray

    @property
    def best_adam(self) -> int:
        """The step size whose final mean over the seeds is the lowest."""
        return int(np.argmin(self.adam[..., -1].mean(1)))

    @property
    def against_adam(self) -> float:
        """The searched final loss in units of the best fixed step's."""
        best = self.adam[self.best_adam, :, -1].mean()
        return float(self.searched[:, -1].mean() / best)


def epochs_to(losses: np.ndarray, target: float) -> np.ndarray:
    """The first epoch at or below the target in each row, inf where there is none."""
    below = losses <= target
    return np.where(below.any(-1), below.argmax(-1), np.inf)


def compare(problem: problems.Problem) -> Comparison:
    """Trains one problem with AMSGrad and a search, and with the grid of Adam."""
    searching = optaxls.adam_sls(
        steps_per_epoch=problem.steps_per_epoch,
        growth=problem.growth,
        variant="amsgrad",
    )
    searched = problems.train_lanes(problem, lambda _: searching, seeds=SEEDS)
    adam = problems.train_lanes(problem, optax.adam, ADAM_STEPS, SEEDS).loss
    adam = adam.reshape(len(ADAM_STEPS), len(SEEDS), -1)
    return Comparison(problem.name, searched.loss, adam, searched.trials.ravel())


def draw(results: list[Comparison]) -> Figure:
    """The loss by epoch, a panel a problem."""
    figure, panels = pictures.panels([result.name for result in results], height=2.4)
    shades = ("#c7d8e8", "#8fb7d6", "#4a90c2", "#0d5a94")
    for axes, result in zip(panels, results, strict=True):
        for step, losses, shade in zip(ADAM_STEPS, result.adam, shades, strict=True):
            axes.plot(losses.mean(0), color=shade, lw=1.2, label=f"Adam {step:g}")
        axes.plot(
            result.searched.mean(0), color=pictures.ORANGE, lw=1.6, label="searched"
        )
        axes.set(yscale="log", xlabel="epochs")
        axes.title.set_fontsize(8)
    panels[0].set_ylabel("loss of all data")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, **pictures.LEGEND
    )
    return figure


def _findings(results: list[Comparison]) -> tuple[str, ...]:
    network = results[-1]
    ratios = ", ".join(
        f"{r.name} {r.against_adam:.2g} (Adam {ADAM_STEPS[r.best_adam]:g})"
        for r in results
    )
    searched = epochs_to(network.searched, TARGET)
    default, larger = (epochs_to(network.adam[index], TARGET) for index in (1, 2))
    costs = ", ".join(f"{r.name} {r.trials.mean():.2f}" for r in results)
    return (
        f"Final loss in units of the best of four Adam steps: {ratios}.",
        f"Epochs of the digits network to a loss of {TARGET:g}, worst of the seeds: "
        f"{searched.max():g} searched, {default.max():g} with Adam's default 1e-3, "
        f"{larger.max():g} with 1e-2.",
        f"Mean trials a step: {costs}.",
    )


def measure() -> Claim:
    """Trains all problems; about half a minute."""
    results = [
        compare(problem)
        for problem in (
            problems.kernel_cancer(),
            problems.kernel_digits(),
            # Longer, both come to rest at the rounding error of float32.
            problems.factorization(10)._replace(epochs=25),
            problems.digits_network(),
        )
    ]
    wins = sum(result.against_adam <= 1 for result in results)
    return Claim(
        title="A line search for Adam's direction",
        says="With a line search along AMSGrad's preconditioned gradient no step size "
        "has to be chosen, and the final loss is at most that of Adam with the best of "
        "a grid of steps.",
        checks=(
            at_least("problems of 4 with searched / best Adam ≤ 1, count", wins, 3),
            at_most(
                "median trials a step, largest of 4 problems",
                max(float(np.median(result.trials)) for result in results),
                1,
            ),
        ),
        findings=_findings(results),
        figure=draw(results),
        source="Vaswani et al., Adaptive Gradient Methods Converge Faster with "
        "Over-Parameterization, 2020, arXiv:2006.06835",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "adam_line_search"))
