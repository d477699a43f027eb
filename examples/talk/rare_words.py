"""What gradient descent is slow at on text: the rare words.

The full-batch bigram softmax of `noise_is_not_the_factor`, 200 steps at each method's
best step size. The words are put in ten groups that make up a tenth of the text each,
from the most to the least frequent; the loss of a group is compared with its loss under
the best bigram model.

python -m examples.talk.rare_words
"""

import sys
from typing import NamedTuple

import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_least, main
from examples.talk.pictures import BLUE, GREEN, LEGEND, ORANGE, panels
from examples.talk.problems_text import Bigrams, bigrams
from examples.talk.sweeps import USUAL_ADAM, sweep

STEPS = 200
GROUPS = 10
METHODS = {
    "SGD + momentum": (lambda rate: optax.sgd(rate, 0.9), np.arange(1.5, 2.6, 0.25)),
    "SGD": (optax.sgd, np.arange(2.5, 3.6, 0.25)),
    "Adam": (optax.adam, np.log10(USUAL_ADAM) + np.arange(-0.75, 0.1, 0.25)),
    "sign + momentum": (optaxls.sign_descent, np.arange(-3, -1.4, 0.25)),
}
SGD, PLAIN, ADAM, SIGN = METHODS
COLOURS = {SGD: BLUE, ADAM: ORANGE, SIGN: GREEN}


class Measured(NamedTuple):
    """What became of the groups of words.

    Attributes:
        sizes: words in each group.
        start: loss of each group before training.
        floor: loss of each group under the best model.
        losses: loss of each group at the end, by method.
    """

    sizes: np.ndarray
    start: np.ndarray
    floor: np.ndarray
    losses: dict[str, np.ndarray]

    def excess(self, method: str) -> np.ndarray:
        """Loss of each group above its loss under the best model."""
        return self.losses[method] - self.floor


def groups(ending: np.ndarray, number: int) -> np.ndarray:
    """The group of each word, 0 the most frequent; equal shares of the text.

    Args:
        ending: how often each word occurs.
        number: of groups.
    """
    order = np.argsort(-ending, kind="stable")
    before = np.cumsum(ending[order]) - ending[order]
    group = np.empty(len(ending), int)
    # The middle of a word's share of the text tells its group.
    middle = (before + ending[order] / 2) / ending.sum()
    group[order] = np.minimum((middle * number).astype(int), number - 1)
    return group


def runs() -> Measured:
    """Every method at its best step, its loss by group."""
    problem = bigrams()
    ending = problem.counts.sum(0, dtype=np.float64)
    group = groups(ending, GROUPS)
    total = np.bincount(group, ending, GROUPS)

    def grouped(of_words: np.ndarray) -> np.ndarray:
        return np.bincount(group, ending * np.nan_to_num(of_words), GROUPS) / total

    return Measured(
        np.bincount(group[ending > 0], minlength=GROUPS),
        grouped(problem.loss_of_words(problem.start)),
        grouped(problem.floor_of_words()),
        {
            method: grouped(problem.loss_of_words(trained(problem, method)))
            for method in METHODS
        },
    )


def trained(problem: Bigrams, method: str) -> np.ndarray:
    """Logits after training at the best step size."""
    make, exponents = METHODS[method]
    loss = problem.full_loss
    batches = np.zeros(STEPS)
    return sweep(
        make,
        10.0**exponents,
        loss,
        problem.start,
        batches,
        full_loss=loss,
        every=STEPS,
    ).best_params


def draw(measured: Measured) -> Figure:
    """Loss of the groups, and what is left above the best model."""
    figure, (left, right) = panels(
        ["Loss by frequency of the word", "Above the best bigram model"]
    )
    number = np.arange(1, GROUPS + 1)
    left.plot(number, measured.start, color="0.6", label="before training")
    for method, colour in COLOURS.items():
        left.plot(number, measured.losses[method], "o-", color=colour, markersize=3)
        excess = measured.excess(method)
        right.plot(number, excess, "o-", color=colour, label=method, markersize=3)
    left.plot(number, measured.floor, "k:", label="best bigram model")
    # A group may lie a little below the best model, at the cost of others.
    right.set_yscale("symlog", linthresh=1e-3)
    for axes in (left, right):
        axes.set_xlabel("tenth of the text, frequent to rare words")
        axes.set_xticks(number)
        axes.legend(loc="upper left", **LEGEND)
    left.set_ylim(0, 10)
    right.set_ylim(-2e-3, 3)
    left.set_ylabel("loss (nats a word)")
    right.set_ylabel("excess loss (nats a word)")
    return figure


def checks(measured: Measured) -> tuple[Check, ...]:
    """Rare against frequent words, gradient descent against Adam."""
    sgd, adam = measured.excess(SGD), measured.excess(ADAM)
    return (
        at_least("rarest tenth: excess of SGD / Adam", sgd[-1] / abs(adam[-1]), 3),
        at_least("SGD: excess of the rarest / commonest tenth", sgd[-1] / sgd[0], 3),
    )


def measure() -> Claim:
    """The losses of the groups under each method."""
    measured = runs()
    share = {
        method: f"{method} {measured.losses[method][-1]:.3f}" for method in METHODS
    }
    common = {
        method: f"{method} {measured.losses[method][0]:.3f}" for method in METHODS
    }
    findings = (
        f"The rarest tenth of the text, {measured.sizes[-1]} of the "
        f"{measured.sizes.sum()} words, ends at a loss of {', '.join(share.values())} "
        f"(best model {measured.floor[-1]:.3f}).",
        f"The commonest tenth, number of words: {measured.sizes[0]}, ends at "
        f"{', '.join(common.values())} (best model {measured.floor[0]:.3f}).",
        "Gradient descent leaves "
        f"{100 * share_of_rare(measured):.0f} % of its excess in the rarer half of the "
        "text.",
    )
    return Claim(
        title="Rare words are learnt late",
        says="On text gradient descent is slow on the rare words, which together make "
        "up much of the loss; Adam and sign descent are not.",
        checks=checks(measured),
        findings=findings,
        figure=draw(measured),
        source="Kunstner, Milligan, Yadav, Schmidt, Bietti: Heavy-tailed class "
        "imbalance and why Adam outperforms gradient descent on language models, "
        "2024, arXiv:2402.19449",
    )


def share_of_rare(measured: Measured) -> float:
    """Share of the excess of SGD with momentum in the rarer half of the text."""
    excess = measured.excess(SGD)
    return float(excess[GROUPS // 2 :].sum() / excess.sum())


if __name__ == "__main__":
    sys.exit(main(measure, "rare_words"))
