"""One problem: what the doctor says, and what a longer race on other batches says."""

from typing import NamedTuple

import jax
import numpy as np
import optax

import optaxls
from examples.doctor.problems import Problem
from examples.talk.training import epochs_of, train
from optaxls.diagnostics import Finding, Report, diagnose

STEPS = 500
RACE_STEPS = 1500
# The doctor's own seed is 0.
RACE_SEED = 1
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
        losses: of the race, by expression; the recommended rule is among them.
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
    """Asks the doctor, then lets the rules that it tried race for longer."""
    report = diagnose(
        problem.loss_fn,
        problem.init(jax.random.key(0)),
        problem.data,
        labels=problem.labels,
        batch_size=problem.batch_size,
        num_steps=STEPS,
    )
    losses = {}
    first = np.inf
    for expression in report.pilots:
        # The doctor's expressions are made to be pasted.
        optimizer = eval(f"optaxls.{expression}", {"optaxls": optaxls, "optax": optax})
        curve = _race(problem, optimizer)
        losses[expression], first = float(curve[-1]), float(curve[0])
    estimates = {
        name: (truth, report.findings[name]) for name, truth in problem.known.items()
    }
    return Trial(report, estimates, problem.regime, losses, first)


def _race(problem: Problem, optimizer: optax.GradientTransformation) -> np.ndarray:
    """Loss over all examples before and after the race."""

    def loss(params, rows):
        batch = jax.tree.map(lambda leaf: leaf[rows], problem.data)
        return jax.vmap(problem.loss_fn, (None, 0))(params, batch).mean()

    def full_loss(params):
        values = jax.lax.map(
            lambda example: problem.loss_fn(params, example),
            problem.data,
            batch_size=512,
        )
        return values.mean()

    count = len(jax.tree.leaves(problem.data)[0])
    epochs = -(-RACE_STEPS // (count // problem.batch_size))
    rows = epochs_of(count, problem.batch_size, epochs, RACE_SEED)[:RACE_STEPS]
    start = problem.init(jax.random.key(RACE_SEED))
    run = train(optimizer, loss, start, rows, full_loss=full_loss, every=RACE_STEPS)
    return run.loss
