"""SGD with a constant step stalls on a small model and converges on a large one.

A function with noise is fit by random features. With fewer features than examples the
noise cannot be fit and the loss stalls above its minimum; with more, the minimum is 0
and the same rule for the step goes on falling towards it. Nothing else changes.

python -m examples.talk.over_parameterization
"""

import sys
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

from examples.talk.claim import Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, PINK, SKY, panels
from examples.talk.problems_rates import (
    LeastSquares,
    constants,
    descents,
    examples_drawn,
)

EXAMPLES = 200
WIDTHS = (20, 100, 200, 300, 800)
SEEDS = 4
STEPS = 39_000
EVERY = 500
COLORS = (ORANGE, PINK, SKY, BLUE, GREEN)


class Width(NamedTuple):
    """SGD on one number of features.

    Attributes:
        features: their number.
        least: the minimum of the loss.
        losses: mean over the seeds at every record, (records,).
    """

    features: int
    least: float
    losses: np.ndarray

    @property
    def end(self) -> float:
        """The last loss."""
        return float(self.losses[-1])

    @property
    def gap(self) -> float:
        """What remains above the minimum, as a share of the first loss."""
        return (self.end - self.least) / float(self.losses[0])


def problem(features: int) -> LeastSquares:
    """A sine of one of 10 inputs, with noise, in random Fourier features."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((EXAMPLES, 10))
    targets = np.sin(3 * inputs[:, 0]) + 0.3 * rng.standard_normal(EXAMPLES)
    # Drawn for the largest model; a smaller one has the first of them.
    frequencies = 0.4 * rng.standard_normal((10, max(WIDTHS)))[:, :features]
    phases = rng.uniform(0, 2 * np.pi, max(WIDTHS))[:features]
    return LeastSquares(
        np.sqrt(2 / features) * np.cos(inputs @ frequencies + phases), targets
    )


def width(features: int) -> Width:
    """SGD with the step 0.5 / L_max, the mean of four seeds."""
    task = problem(features)
    with jax.enable_x64(True):
        losses = descents(
            task.example_loss,
            optax.sgd,
            np.full(SEEDS, 0.5 / constants(task.x).largest),
            np.zeros((SEEDS, features)),
            examples_drawn(EXAMPLES, SEEDS, STEPS),
            full_loss=task.full_loss,
            every=EVERY,
        )
    return Width(features, task.least(), losses.mean(0))


def draw(widths: list[Width]) -> Figure:
    """The curves, and where they end against what is possible."""
    figure, (left, right) = panels(["SGD, constant step", "after 39 000 steps"])
    steps = np.arange(STEPS // EVERY + 1) * EVERY
    for found, color in zip(widths, COLORS, strict=True):
        left.semilogy(steps, found.losses, color=color, label=f"{found.features}")
    left.legend(
        title="features (200 examples)", ncols=3, loc="lower left",
        **LEGEND, title_fontsize=7,
    )  # fmt: skip
    left.set_ylim(bottom=widths[-1].end / 6)
    left.set_xlabel("steps, one example each")
    left.set_ylabel("training loss")
    features = [found.features for found in widths]
    right.loglog(features, [found.end for found in widths], "o-", color=BLUE)
    lowest = widths[-1].end / 6
    best = [max(found.least, lowest) for found in widths]
    right.loglog(features, best, "s--", color=BLACK, ms=4)
    right.text(40, widths[0].end * 1.05, "SGD ends here", color=BLUE, fontsize=7)
    right.text(
        25, lowest * 4, "lowest possible loss:\n0 from 200 features on", fontsize=7
    )
    right.set_ylim(lowest / 1.5, widths[0].end * 2)
    right.axvline(EXAMPLES, color="#999999", lw=0.8)
    right.set_xticks(features, [str(number) for number in features])
    right.minorticks_off()
    right.set_xlabel("random features")
    right.set_ylabel("training loss")
    return figure


def measure() -> Claim:
    """Plateaus below 200 features, none above."""
    widths = [width(features) for features in WIDTHS]
    under = [found for found in widths if found.features < EXAMPLES]
    over = [found for found in widths if found.features >= EXAMPLES]
    pairs = zip(over, over[1:], strict=False)
    largest, half = over[-1], STEPS // 2 // EVERY
    falling = largest.end / float(largest.losses[half])
    stalled = max(found.end / float(found.losses[half]) for found in under)
    return Claim(
        title="Over-parameterization lets a constant step converge",
        says="On a model too small to fit its data, SGD with a constant step stalls"
        " above the best loss; with more parameters than examples the plateau is gone.",
        checks=(
            at_least(
                "fewer features than examples: lowest end / minimum",
                min(found.end / found.least for found in under),
                1.0,
            ),
            at_least(
                "fewer: least (end - minimum) / first loss",
                min(found.gap for found in under),
                0.1,
            ),
            at_most(
                "more: highest ratio of an end to the next smaller model's",
                max(wider.end / narrower.end for narrower, wider in pairs),
                1.0,
            ),
            at_most("800 features: (end - minimum) / first loss", largest.gap, 0.05),
            at_most("800 features: end / half-way loss, still falling", falling, 1.0),
        ),
        findings=(
            "The last losses are "
            + ", ".join(f"{found.end:.2g} ({found.features})" for found in widths)
            + " for the numbers of features in brackets; the minima are "
            + ", ".join(f"{found.least:.2g} ({found.features})" for found in under)
            + f" and {max(found.least for found in over):.0e} or less.",
            "The small models had come to rest: over the second half of the steps their"
            f" loss was multiplied by {stalled:.2f} at most, that of the largest by"
            f" {falling:.2f}.",
            f"With {under[0].features} features the loss was {under[0].losses[0]:.2f}"
            f" before the first step and {under[0].end:.2f} after the last: a constant"
            " step keeps moving on noise that the model cannot fit.",
        ),
        figure=draw(widths),
        source="Vaswani, Bach, Schmidt 2019 (arXiv:1810.07288)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "over_parameterization"))
