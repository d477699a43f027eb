"""Remembering past backtracks saves trials.

PoNoS starts at ten times the Polyak ratio, which is often too long. It counts by how
many halvings, and starts the next search that much shorter.

    python -m examples.talk.backtrack_memory
"""

import sys
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_most, main

# The published cap on networks; convex problems need none.
CAP, NO_CAP = 10.0, 1e10


class Trials(NamedTuple):
    """Of every step on one problem, with the memory and without."""

    name: str
    with_memory: np.ndarray
    without: np.ndarray

    @property
    def ratio(self) -> float:
        """Mean trials with the memory in units of those without."""
        return float(self.with_memory.mean() / self.without.mean())

    @property
    def at_once(self) -> float:
        """The share of steps whose first trial is accepted, with the memory."""
        return float(np.mean(self.with_memory == 1))


def count(problem: problems.Problem) -> Trials:
    """Trains the problem twice."""
    cap = NO_CAP if problem.name.startswith("kernel") else CAP

    def trials(memory: bool) -> np.ndarray:
        ponos = optaxls.ponos(memory=memory, max_step_size=cap)
        return problems.train_lanes(problem, lambda _: ponos).trials.ravel()

    return Trials(problem.name, trials(True), trials(False))


def draw(results: list[Trials]) -> Figure:
    """Mean trials a step, and the share of steps without a backtrack."""
    figure, (left, right) = pictures.panels(
        ["Trials a step, mean", "Steps without a backtrack"], height=2.8
    )
    rows = np.arange(len(results))[::-1]
    bars = (
        ("with memory", pictures.BLUE, 0.2, [r.with_memory for r in results]),
        ("without", pictures.ORANGE, -0.2, [r.without for r in results]),
    )
    for label, colour, shift, trials in bars:
        style = {"height": 0.36, "color": colour, "label": label}
        left.barh(rows + shift, [np.mean(each) for each in trials], **style)
        right.barh(rows + shift, [np.mean(each == 1) for each in trials], **style)
    left.set_yticks(rows, [result.name for result in results])
    left.set_xlabel("trials")
    right.set_yticks(rows, [])
    right.set(xlabel="share of steps", xlim=(0, 1))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, **pictures.LEGEND
    )
    return figure


def _findings(results: list[Trials]) -> tuple[str, ...]:
    means = ", ".join(
        f"{r.name} {r.with_memory.mean():.2f} against {r.without.mean():.2f}"
        for r in results
    )
    fitted = [r for r in results if not r.name.startswith("factorization")]
    factored = [r for r in results if r.name.startswith("factorization")]
    low, high = (f(r.at_once for r in fitted) for f in (min, max))
    least, most = (f(r.at_once for r in factored) for f in (min, max))
    return (
        f"Mean trials a step, with the memory against without: {means}.",
        f"Of the steps {low:.0%} to {high:.0%} need no backtrack on kernels and "
        f"networks, but only {least:.0%} to {most:.0%} on factorizations: that most "
        "steps are accepted at once holds for the former only.",
    )


def measure() -> Claim:
    """Trains six problems twice; about 20 seconds."""
    networks = [
        count(problem)
        for problem in (problems.digits_network(), problems.tanh_teacher())
    ]
    others = [
        count(problem)
        for problem in (
            problems.kernel_cancer(),
            problems.kernel_digits(),
            problems.factorization(1),
            problems.factorization(4),
        )
    ]
    results = others + networks
    return Claim(
        title="Remembering past backtracks",
        says="Starting a search shorter by the backtracks of the searches before saves "
        "trials, so that networks need hardly more than one a step.",
        checks=(
            at_most(
                "trials with memory / without, largest of 6 problems",
                max(result.ratio for result in results),
                1,
            ),
            at_most(
                "trials a step with memory, larger of 2 networks",
                max(float(result.with_memory.mean()) for result in networks),
                1.5,
            ),
        ),
        findings=_findings(results),
        figure=draw(results),
        source="Galli, Rauhut, Schmidt, Don't be so Monotone, 2023, arXiv:2306.12747",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "backtrack_memory"))
