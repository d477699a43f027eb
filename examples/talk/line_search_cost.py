"""A line search on the mini-batch costs about one forward pass a step.

SLS tries a step on the batch at hand and shortens it until the batch's loss falls
enough (Armijo). Trained here: two kernel models, three matrix factorizations, a
network; against SGD at five fixed steps and Adam as it comes.

    python -m examples.talk.line_search_cost
"""

import sys
from typing import NamedTuple

import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_most, main

# A gradient costs about three forward passes, a trial one.
GRADIENT_COST = 3
SGD_STEPS = (0.01, 0.1, 1.0, 10.0, 100.0)
ADAM_STEPS = (1e-3, 1e-2)
SEEDS = (0, 1)
RESTARTED = "factorization, rank 10"


class Comparison(NamedTuple):
    """What one problem showed; losses are final ones, of all data.

    Attributes:
        name: of the problem.
        trials: of every step of SLS and every seed, flat.
        sls: by seed.
        sgd: by step size and seed; inf where it diverged.
        adam: by step size and seed.
        restart_trials: the mean where every search starts anew from six times the
            usual step, NaN where that was not run.
    """

    name: str
    trials: np.ndarray
    sls: np.ndarray
    sgd: np.ndarray
    adam: np.ndarray
    restart_trials: float

    @property
    def cost(self) -> float:
        """Of a step, in steps of SGD, counted in forward passes."""
        return (GRADIENT_COST + float(self.trials.mean())) / GRADIENT_COST

    @property
    def best_sgd(self) -> int:
        """Which step size has the lowest mean over the seeds."""
        return int(np.argmin(self.sgd.mean(1)))

    @property
    def against_sgd(self) -> float:
        """SLS's mean loss in units of the best fixed step's."""
        return float(self.sls.mean() / self.sgd[self.best_sgd].mean())

    @property
    def against_adam(self) -> float:
        """SLS's mean loss in units of default Adam's."""
        return float(self.sls.mean() / self.adam[0].mean())


def compare(problem: problems.Problem) -> Comparison:
    """Trains one problem with each optimizer."""

    def sls(**settings):
        return optaxls.sls(
            steps_per_epoch=problem.steps_per_epoch, growth=problem.growth, **settings
        )

    searched = problems.train_lanes(problem, lambda _: sls(), seeds=SEEDS)
    by_step = (-1, len(SEEDS))
    sgd = problems.train_lanes(problem, optax.sgd, SGD_STEPS, SEEDS).final
    adam = problems.train_lanes(problem, optax.adam, ADAM_STEPS, SEEDS).final
    restarted = np.nan
    if problem.name == RESTARTED:
        far = 6 * float(np.median(searched.metrics["step_size"]))
        restarting = sls(reset="restart", initial_step_size=far)
        short = problem._replace(epochs=10)
        restarted = problems.train_lanes(short, lambda _: restarting).trials.mean()
    return Comparison(
        problem.name,
        searched.trials.ravel(),
        searched.final,
        sgd.reshape(by_step),
        adam.reshape(by_step),
        float(restarted),
    )


def draw(results: list[Comparison]) -> Figure:
    """Trials of a step, and where each optimizer ended."""
    figure, (left, right) = pictures.panels(
        ["Trials a step", "Final loss, mean of 2 seeds"], height=3.1
    )
    rows = np.arange(len(results))[::-1]
    start = np.zeros(len(results))
    shades = (pictures.GREEN, pictures.YELLOW, pictures.ORANGE)
    names = ("1", "2", "3 or more")
    for count, (name, shade) in enumerate(zip(names, shades, strict=True), start=1):
        share = np.array(
            [np.mean(np.clip(result.trials, 1, 3) == count) for result in results]
        )
        left.barh(rows, share, left=start, color=shade, height=0.6, label=name)
        start = start + share
    left.set_yticks(rows, [result.name for result in results])
    left.set_xlabel("share of steps")
    left.set_ylim(-0.6, len(results) + 0.4)
    left.legend(
        ncols=3, loc="upper left", columnspacing=1, handlelength=1, **pictures.LEGEND
    )
    for row, result in zip(rows, results, strict=True):
        cost = f"cost {result.cost:.2f}"
        left.text(0.03, row, cost, va="center", fontsize=7, color="white")
    marks = {
        "SGD, five fixed steps": (
            pictures.SKY, "|", [r.sgd.mean(1) for r in results],
        ),
        "Adam, default": (
            pictures.ORANGE, "s", [r.adam[:1].mean(1) for r in results],
        ),
        "SLS": (pictures.BLUE, "o", [r.sls.mean(keepdims=True) for r in results]),
    }  # fmt: skip
    pictures.marked_rows(right, [""] * len(results), marks)
    right.set_xlabel("loss of all data")
    right.set_ylim(-0.6, len(results) + 0.9)
    right.legend(
        loc="upper left", ncols=2, columnspacing=1, handletextpad=0.3, **pictures.LEGEND
    )
    return figure


def _findings(results: list[Comparison]) -> tuple[str, ...]:
    network = results[-1]
    lowest = int(np.argmin(network.sgd.min(1)))
    step = SGD_STEPS[lowest]
    restarted = next(r for r in results if r.name == RESTARTED)
    adam = ", ".join(f"{r.name} {r.against_adam:.2g}" for r in results)
    return (
        "The best fixed step differs from problem to problem: "
        + ", ".join(f"{r.name} {SGD_STEPS[r.best_sgd]:g}" for r in results)
        + "; SLS starts from 1 in all of them.",
        f"SLS's final loss in units of Adam's at its default step 1e-3: {adam}; tuned, "
        "Adam can be better: on the digits network it ends at "
        f"{network.adam[1].mean():.2g} with step 1e-2, "
        f"SLS at {network.sls.mean():.2g}.",
        f"On the digits network SGD with step {step:g} ends lower than SLS where it "
        f"trains ({network.sgd[lowest].min():.2g} against {network.sls.min():.2g} at "
        f"best), but its worst of {len(SEEDS)} seeds ends at "
        f"{network.sgd[lowest].max():.2g}.",
        "The cheapness is that of starting near the last step: on the factorization of "
        "rank 10 a search that starts from six times the usual step every time needs "
        f"{restarted.restart_trials:.3g} trials a step in place of "
        f"{restarted.trials.mean():.3g}.",
    )


def measure() -> Claim:
    """Trains all problems; about half a minute."""
    results = [
        compare(problem)
        for problem in (
            problems.kernel_cancer(),
            problems.kernel_digits(),
            *map(problems.factorization, (1, 4, 10)),
            problems.digits_network(),
        )
    ]
    return Claim(
        title="A line search costs one forward pass",
        says="A line search on the mini-batch nearly always accepts its first trial, "
        "so that a step costs less than two of SGD, and it ends where the best of a "
        "grid of fixed steps does, or lower.",
        checks=(
            at_most(
                "median trials a step, largest of 6 problems",
                max(float(np.median(result.trials)) for result in results),
                1,
            ),
            at_most(
                "cost in steps of SGD, largest of 6 problems",
                max(result.cost for result in results),
                2,
            ),
            at_most(
                "final loss / best of 5 SGD steps, largest of 6 problems",
                max(result.against_sgd for result in results),
                1.2,
            ),
        ),
        findings=_findings(results),
        figure=draw(results),
        source="Vaswani et al., Painless Stochastic Gradient, 2019, arXiv:1905.09997",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "line_search_cost"))
