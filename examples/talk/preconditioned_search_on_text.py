"""Line searches with Adam's preconditioner on text: with all pairs, and with batches.

The bigram softmax on Python's help texts, searched along the gradient (PoNoS, SLS) and
along Adam's preconditioned gradient (PoNoS_prec, Adam + SLS, SaLSA), against SGD with
momentum and Adam at their best constant steps. A search that judges a step by the batch
that it was made for fits a row of logits to one or two words, where the batch is small.

python -m examples.talk.preconditioned_search_on_text
"""

import sys
from typing import NamedTuple

import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import (
    BLACK,
    BLUE,
    GREEN,
    LEGEND,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    panels,
)
from examples.talk.problems_text import Bigrams, bigrams
from examples.talk.sweeps import USUAL_ADAM, sweep
from examples.talk.training import train

RECORDS = 20
FULL, BATCH = "full batch", "batch 512"
STEPS = {FULL: 200, BATCH: 400}
SIZE = 512
# Gradients are small: a frequent word has a few hundredths of the text. A plain step
# is of the order of 100, and the default cap of 10 would bind.
LONGEST = 1e4
PONOS, SLS, PREC, ADAM_SLS = "PoNoS", "SLS", "PoNoS_prec", "Adam + SLS"
SALSA, AUTO, SGD, ADAM = "SaLSA", "auto", "SGD + momentum, tuned", "Adam, tuned"
TUNED = {
    (FULL, SGD): 10.0 ** np.arange(1.75, 2.6, 0.25),
    (BATCH, SGD): 10.0 ** np.arange(1, 2.1, 0.25),
    (FULL, ADAM): USUAL_ADAM * 10.0 ** np.arange(-0.5, 0.1, 0.25),
    (BATCH, ADAM): 10.0 ** np.arange(-1.75, -0.7, 0.25),
}
LOOKS = {
    PONOS: (BLUE, "-"),
    SLS: (SKY, "-"),
    PREC: (ORANGE, "-"),
    ADAM_SLS: (YELLOW, "-"),
    SALSA: (PINK, "-"),
    AUTO: (GREEN, "-"),
    SGD: (BLACK, ":"),
    ADAM: (BLACK, "--"),
}


class Measured(NamedTuple):
    """Losses above the floor over the steps, and trials a step, by regime and method.

    `curves` are `(RECORDS + 1,)`; `trials` only of those that search.
    """

    curves: dict[tuple[str, str], np.ndarray]
    trials: dict[tuple[str, str], float]

    def end(self, regime: str, method: str) -> float:
        """The excess after the last step, at least what float32 can tell from 0."""
        return max(float(self.curves[regime, method][-1]), 1e-6)

    def ratio(self, regime: str, method: str, other: str) -> float:
        """Excess of one method over that of another."""
        return self.end(regime, method) / self.end(regime, other)


def searches(epoch: float) -> dict[str, optax.GradientTransformation]:
    """The optimizers without a step size to tune.

    Args:
        epoch: steps in an epoch, for the growth of SLS.
    """
    return {
        PONOS: optaxls.ponos(max_step_size=LONGEST),
        SLS: optaxls.sls(steps_per_epoch=epoch),
        PREC: optaxls.adam_ponos(),
        ADAM_SLS: optaxls.adam_sls(steps_per_epoch=epoch),
        SALSA: optaxls.salsa(),
        AUTO: optaxls.auto(),
    }


def regime(problem: Bigrams, name: str, measured: Measured) -> None:
    """Adds the runs of one regime."""
    steps = STEPS[name]
    if name == FULL:
        loss, batches, epoch = problem.full_loss, np.zeros(steps), 1.0
    else:
        loss, batches = problem.batch_loss, problem.batches(steps, SIZE, seed=0)
        epoch = len(problem.previous) / SIZE
    how = {"full_loss": problem.full_loss, "every": steps // RECORDS}
    for method, optimizer in searches(epoch).items():
        run = train(optimizer, loss, problem.start, batches, **how)
        measured.curves[name, method] = run.loss - problem.floor()
        measured.trials[name, method] = float(run.metrics["num_trials"].mean())
    for method, make in ((SGD, lambda rate: optax.sgd(rate, 0.9)), (ADAM, optax.adam)):
        runs = sweep(make, TUNED[name, method], loss, problem.start, batches, **how)
        measured.curves[name, method] = runs.loss[runs.best] - problem.floor()


def runs() -> Measured:
    """Every method, without and with the noise of batches."""
    problem, measured = bigrams(), Measured({}, {})
    for name in STEPS:
        regime(problem, name, measured)
    return measured


def draw(measured: Measured) -> Figure:
    """Excess over the steps in both regimes."""
    titles = ["Full batch", f"Batches of {SIZE} pairs"]
    figure, axes = panels(titles, height=3.0)
    for panel, (name, steps) in zip(axes, STEPS.items(), strict=True):
        for method, (colour, line) in LOOKS.items():
            curve = np.where(
                measured.curves[name, method] > 1e-6,
                measured.curves[name, method],
                np.nan,
            )
            x = np.linspace(0, steps, RECORDS + 1)
            panel.semilogy(x, curve, line, color=colour, label=method, linewidth=1.3)
        panel.set_xlabel("steps")
        panel.set_ylabel("loss above the least (nats)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        **LEGEND,
    )
    return figure


def ends(measured: Measured, name: str) -> str:
    """The excess of every method, in order."""
    order = sorted(LOOKS, key=lambda method: measured.end(name, method))
    return ", ".join(f"{method} {measured.end(name, method):.2g}" for method in order)


def checks(measured: Measured) -> tuple[Check, ...]:
    """That the preconditioner helps, without noise and with it."""
    return (
        at_most(
            f"{FULL}: excess of PoNoS_prec / PoNoS",
            measured.ratio(FULL, PREC, PONOS),
            1,
        ),
        at_most(
            f"{FULL}: excess of Adam + SLS / SLS",
            measured.ratio(FULL, ADAM_SLS, SLS),
            1,
        ),
        at_most(
            f"{FULL}: excess of PoNoS_prec / tuned SGD + momentum",
            measured.ratio(FULL, PREC, SGD),
            1,
        ),
        at_most(
            f"{BATCH}: excess of PoNoS_prec / PoNoS",
            measured.ratio(BATCH, PREC, PONOS),
            1,
        ),
    )


def findings(measured: Measured) -> tuple[str, ...]:
    """Every end, why, and what the searches cost."""
    return (
        f"Loss above the least (or 1e-6, what float32 can tell), {FULL}, after "
        f"{STEPS[FULL]} steps: "
        f"{ends(measured, FULL)}.",
        f"With batches of {SIZE}, after {STEPS[BATCH]} steps: {ends(measured, BATCH)}.",
        "A likely reason: most words are seen about once in a batch, and their row of "
        "logits can be fitted to that, so that what the batch says of a step says "
        "little of the text; a preconditioner makes these steps as long as those of "
        "the frequent words. `auto` judges its step on the next batch.",
        f"Trials a step, {FULL} and {BATCH}: "
        + ", ".join(
            f"{method} {measured.trials[FULL, method]:.1f} and "
            f"{measured.trials[BATCH, method]:.1f}"
            for method in searches(1.0)
        )
        + f". PoNoS has a longest step of {LONGEST:g} here, not its default of 10.",
    )


def measure() -> Claim:
    """Plain and preconditioned searches on text."""
    measured = runs()
    return Claim(
        title="A preconditioned search on text",
        says="With Adam's preconditioner the nonmonotone search is said to close the "
        "gap to Adam on text.",
        checks=checks(measured),
        findings=findings(measured),
        figure=draw(measured),
        source="Galli, Rauhut, Schmidt: Don't be so monotone, 2023, arXiv:2306.12747; "
        "Kenneweg et al.: SaLSA, 2024, arXiv:2407.20650",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "preconditioned_search_on_text"))
