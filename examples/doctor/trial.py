"""One problem: what the doctor says, and what a longer race on other batches says."""

from typing import NamedTuple

import jax
import numpy as np

from examples.doctor.problems import Problem
from optaxls.diagnostics import Finding, Report, diagnose

STEPS = 500
RACE_STEPS = 1500
# The doctor's own seed is 0. One seed's winner is often luck.
RACE_SEEDS = (1, 2, 3)
# A recommendation is right up to this multiple of the best loss; losses below a
# millionth of the first are equal.
RIGHT_WITHIN = 1.5
GONE = 1e-6


class Trial(NamedTuple):
    """How the doctor did on a problem.

    Attributes:
        report: the diagnosis.
        estimates: of what is known, by name: the truth and the finding.
        regime: the one that is true ("" if unknown).
        losses: of the races, geometric mean over seeds, by expression; none counts as
            less than a millionth of the first.
        first: the loss before training.
    """

    report: Report
    estimates: dict[str, tuple[float, Finding]]
    regime: str
    losses: dict[str, float]
    first: float

    @property
    def inside(self) -> bool:
        """Whether every known number lies in its interval, up to rounding."""
        return all(
            found.low - 1e-6 <= truth <= found.high + 1e-6
            for truth, found in self.estimates.values()
        )

    @property
    def best(self) -> str:
        """The rule that won the race."""
        return min(
            self.losses, key=lambda name: np.nan_to_num(self.losses[name], nan=np.inf)
        )

    def good(self, rule: str) -> bool:
        """Whether a rule ended about as low as the best."""
        limit = max(RIGHT_WITHIN * self.losses[self.best], GONE * self.first)
        return self.losses[rule] <= limit

    @property
    def right(self) -> bool:
        """Whether optimizer and regime are what race and closed form say."""
        advice = self.report.recommendation
        return self.good(advice.optimizer) and self.regime in ("", advice.regime)


def attempt(problem: Problem) -> Trial:
    """Asks the doctor, then lets the rules that it tried race for longer.

    The races are other diagnoses, on other batches and from other parameters.
    """

    def report(num_steps: int, seed: int) -> Report:
        return diagnose(
            problem.loss_fn,
            problem.init(jax.random.key(seed)),
            problem.data,
            labels=problem.labels,
            batch_size=problem.batch_size,
            num_steps=num_steps,
            seed=seed,
        )

    said = report(STEPS, 0)
    races = [report(RACE_STEPS, seed) for seed in RACE_SEEDS]
    first = float(said.curves.samples.values[0].mean())
    losses = {
        name: _geometric_mean([race.pilots[name].loss for race in races], GONE * first)
        for name in said.pilots
    }
    estimates = {
        name: (truth, said.findings[name]) for name, truth in problem.known.items()
    }
    return Trial(said, estimates, problem.regime, losses, first)


def _geometric_mean(losses: list[float], least: float) -> float:
    known = np.nan_to_num(losses, nan=np.inf)
    return float(np.exp(np.mean(np.log(np.maximum(known, least)))))
