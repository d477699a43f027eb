"""Larger steps by letting the batch's loss rise for a while: PoNoS.

PoNoS starts its search at ten times the Polyak ratio and compares with the mean of past
losses in place of the present one. Against SLS, SPS and its own monotone form on a
network; and on least squares, where a mean that never forgets stalls.

    python -m examples.talk.non_monotone
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main

SEEDS = (0, 1)
# The published cap of the step size, and one that softmax losses near 0 leave room for.
SHORT, LONG = 10.0, 1e3
WEIGHTS = (0.0, 0.5, 0.9, 0.99, 1.0)
TARGET = 1e-2
STYLES = {
    "SLS, no cap": (pictures.BLUE, "-"),
    "SLS, cap 10": (pictures.BLUE, ":"),
    "SPS": (pictures.GREEN, "-"),
    "monotone, cap 1000": (pictures.BLACK, "-"),
    "PoNoS, cap 10": (pictures.ORANGE, ":"),
    "PoNoS, cap 1000": (pictures.ORANGE, "-"),
    "PoNoS prec., cap 1000": (pictures.PINK, "-"),
}


class Runs(NamedTuple):
    """Losses and step sizes by epoch of one rule, seeds first.

    Attributes:
        loss: of all data, `(seeds, epochs + 1)`.
        steps: the median step size of every epoch, `(seeds, epochs)`.
    """

    loss: np.ndarray
    steps: np.ndarray

    @property
    def final(self) -> np.ndarray:
        """The last losses."""
        return self.loss[:, -1]

    def epochs_to(self, target: float) -> np.ndarray:
        """The first epochs at or below the target, inf where there is none."""
        below = self.loss <= target
        return np.where(below.any(-1), below.argmax(-1), np.inf)


def by_epoch(problem: problems.Problem, lanes: problems.Lanes) -> Runs:
    """Losses and median step sizes of every epoch."""
    steps = lanes.metrics["step_size"]
    steps = steps.reshape(len(steps), problem.epochs, problem.steps_per_epoch)
    return Runs(lanes.loss, np.median(steps, axis=2))


def race(problem: problems.Problem, seeds: Sequence[int]) -> dict[str, Runs]:
    """Trains the problem with every rule of `STYLES`."""
    growing = {"steps_per_epoch": problem.steps_per_epoch, "growth": 2.0}
    rules = {
        "SLS": (lambda cap: optaxls.sls(max_step_size=cap, **growing), (SHORT, np.inf)),
        "SPS": (lambda cap: optaxls.sps(c=0.2, **growing), (0.0,)),
        "monotone": (lambda cap: optaxls.ponos(max_step_size=cap, decay=0.0), (LONG,)),
        "PoNoS": (lambda cap: optaxls.ponos(max_step_size=cap), (SHORT, LONG)),
        "PoNoS prec.": (lambda cap: optaxls.adam_ponos(max_step_size=cap), (LONG,)),
    }
    words = {0.0: "", SHORT: ", cap 10", LONG: ", cap 1000", np.inf: ", no cap"}
    runs = {}
    for name, (optimizer_of, caps) in rules.items():
        lanes = problems.train_lanes(problem, optimizer_of, caps, seeds)
        every = by_epoch(problem, lanes)
        for index, cap in enumerate(caps):
            part = slice(index * len(seeds), (index + 1) * len(seeds))
            runs[name + words[cap]] = Runs(*(series[part] for series in every))
    return {name: runs[name] for name in STYLES}


def stall() -> dict[float, float]:
    """Final losses of least squares by the weight of the past, in float64."""
    with jax.enable_x64(True):
        lanes = problems.train_lanes(
            problems.least_squares(batch_size=1, epochs=30),
            lambda weight: optaxls.ponos(decay=weight, max_step_size=1e10),
            WEIGHTS,
        )
    return dict(zip(WEIGHTS, lanes.final.tolist(), strict=True))


def draw_race(axes: Axes, runs: dict[str, Runs]) -> None:
    """The loss by epoch of every rule, its geometric mean over the seeds."""
    for name, (colour, line) in STYLES.items():
        loss = np.exp(np.log(runs[name].loss).mean(0))
        axes.plot(loss, color=colour, ls=line, lw=1.3, label=name)
    axes.set(yscale="log", xlabel="epochs", ylabel="loss of all data")


def name_rules(figure: Figure, axes: Axes) -> None:
    """One legend below the panels: seven names leave no room beside the curves."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, **pictures.LEGEND
    )


def draw(runs: dict[str, Runs], stalled: dict[float, float]) -> Figure:
    """The network's losses; least squares by the weight of the past."""
    figure, (left, right) = pictures.panels(
        ["Network, digits", "Least squares: the weight of past losses"], height=3.1
    )
    draw_race(left, runs)
    name_rules(figure, left)
    rows = np.arange(len(stalled))
    right.plot(rows, list(stalled.values()), "o-", color=pictures.ORANGE, ms=4)
    right.set_xticks(rows, [f"{weight:g}" for weight in stalled])
    right.set(yscale="log", xlabel="weight ξ", ylabel="loss after 30 epochs")
    right.annotate(
        "published default", (rows[-1], stalled[1.0]), (-8, -2),
        textcoords="offset points", ha="right", va="center", fontsize=7,
    )  # fmt: skip
    return figure


def comparisons(runs: dict[str, Runs]) -> dict[str, float]:
    """The ratios of final losses that the claim speaks of, the worst over the seeds."""
    long, capped = runs["PoNoS, cap 1000"].final, runs["SLS, cap 10"].final
    return {
        "PoNoS / SLS": float((long / capped).max()),
        "PoNoS, cap 10 / SLS": float((runs["PoNoS, cap 10"].final / capped).max()),
        "monotone / PoNoS": float((runs["monotone, cap 1000"].final / long).min()),
        "PoNoS / SLS, no cap": float((long / runs["SLS, no cap"].final).max()),
        "PoNoS / SPS": float((long / runs["SPS"].final).max()),
        "cap 10 / cap 1000": float((runs["PoNoS, cap 10"].final / long).min()),
        "prec. / best other": float(
            (
                runs["PoNoS prec., cap 1000"].final
                / np.min([r.final for n, r in runs.items() if "prec." not in n], axis=0)
            ).max()
        ),
    }


def early(runs: dict[str, Runs]) -> str:
    """How many epochs each rule needs to the target, worst of the seeds."""
    names = ("PoNoS, cap 1000", "SLS, no cap", "SPS")
    return ", ".join(f"{name} {runs[name].epochs_to(TARGET).max():g}" for name in names)


def _findings(runs: dict[str, Runs], stalled: dict[float, float]) -> tuple[str, ...]:
    ratio = comparisons(runs)
    step = {name: float(np.median(run.steps[:, -1])) for name, run in runs.items()}
    return (
        f"On the network SLS ends at the same loss with a cap of 10 and without "
        f"({runs['SLS, cap 10'].final.mean():.2g} and "
        f"{runs['SLS, no cap'].final.mean():.2g}), for its steps stay near "
        f"{step['SLS, no cap']:.2g}; PoNoS's reach its cap of 10, and with a cap of "
        f"1000 {step['PoNoS, cap 1000']:.2g}, which lowers its loss by a further "
        f"factor of {ratio['cap 10 / cap 1000']:.2g}.",
        f"The monotone form's steps end at {step['monotone, cap 1000']:.2g}: it is the "
        "comparison with past losses that lets steps be long.",
        f"PoNoS is not faster early: epochs to a loss of {TARGET:g} are {early(runs)}.",
        "Its published weight 1 makes the reference the mean of all past losses; where "
        f"losses fall by many orders it stalls (least squares: {stalled[1.0]:.2g} "
        f"against {stalled[0.9]:.2g} with weight 0.9).",
    )


def measure() -> Claim:
    """Trains the network and least squares; about half a minute."""
    runs = race(problems.digits_network(), SEEDS)
    stalled = stall()
    ratio = comparisons(runs)
    return Claim(
        title="Non-monotone line searches",
        says="Allowing the loss of a batch to rise up to the mean of past losses gives "
        "larger steps and a far lower final loss of networks than a monotone search.",
        checks=(
            at_most("PoNoS (cap 1000) / SLS, worst seed", ratio["PoNoS / SLS"], 0.1),
            at_most(
                "PoNoS (cap 10) / SLS, worst seed", ratio["PoNoS, cap 10 / SLS"], 0.1
            ),
            at_least(
                "its monotone form / PoNoS, worst seed", ratio["monotone / PoNoS"], 4
            ),
            at_most(
                "preconditioned / best other rule, worst seed",
                ratio["prec. / best other"],
                1,
            ),
            at_least(
                "least squares: loss with weight 1 / with 0.9",
                stalled[1.0] / stalled[0.9],
                1e6,
            ),
        ),
        findings=_findings(runs, stalled),
        figure=draw(runs, stalled),
        source="Galli, Rauhut, Schmidt, Don't be so Monotone, 2023, arXiv:2306.12747",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "non_monotone"))
