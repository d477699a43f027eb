"""Line searches work where the data are interpolated, and break where they are not.

A dial is turned from data that the model can fit exactly to data that it cannot: by
flipping labels of a logistic regression, by adding noise to a linear one.

    python -m examples.talk.interpolation_dial
"""

import sys
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.special import expit

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.3)
NOISES = (0.0, 0.01, 0.1, 1.0, 3.0)
SEEDS = (0, 1, 2)
LONGEST_STEP = 1e3


class Dial(NamedTuple):
    """Gaps left at every setting.

    Attributes:
        flips: by optimizer, `(shares,)`: (f - f*) / (f0 - f*) in the last 10 epochs,
            the median over epochs and seeds.
        noise: f - f* of least squares with SLS, `(noises,)`, likewise.
    """

    flips: dict[str, np.ndarray]
    noise: np.ndarray


def margin_problem() -> problems.Problem:
    """About 800 points of 50 coordinates at least 1 away from the line between them."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(50)
    normal /= np.linalg.norm(normal)
    inputs = rng.standard_normal((2600, 50))
    sides = inputs @ normal
    kept = np.abs(sides) > 1
    zeros = lambda key: jax.numpy.zeros(50)  # noqa: E731
    return problems.Problem(
        "logistic", inputs[kept], np.sign(sides[kept]), zeros, problems.logistic, 16, 40
    )


def flipped(signs: np.ndarray) -> np.ndarray:
    """The labels with each share of them turned, `(shares, rows)`, nested."""
    draws = np.random.default_rng(0).random(len(signs))
    return np.stack([np.where(draws < share, -signs, signs) for share in SHARES])


def lowest_logistic(inputs: np.ndarray, signs: np.ndarray) -> float:
    """The infimum of the logistic loss: 0 where a plane separates the points."""

    def loss_and_grad(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (inputs @ weights)
        loss = np.mean(np.logaddexp(0, -margins))
        return float(loss), -inputs.T @ (signs * expit(-margins)) / len(signs)

    zeros = np.zeros(inputs.shape[1])
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(loss_and_grad, zeros, jac=True, method="L-BFGS-B", options=options)
    return float(found.fun) if found.fun > 1e-6 else 0.0


def _last(gaps: np.ndarray, settings: int) -> np.ndarray:
    """Median over the last 10 epochs and the seeds."""
    return np.median(gaps[:, -10:].reshape(settings, -1), axis=1)


def turn_labels() -> dict[str, np.ndarray]:
    """Gaps with flipped labels by optimizer."""
    problem = margin_problem()
    targets = flipped(problem.targets)
    floors = np.array([lowest_logistic(problem.inputs, signs) for signs in targets])
    growing = {"steps_per_epoch": problem.steps_per_epoch, "growth": 2.0}
    optimizers = {
        "SLS": optaxls.sls(max_step_size=LONGEST_STEP, **growing),
        "SPS": optaxls.sps(max_step_size=LONGEST_STEP),
        "PoNoS": optaxls.ponos(max_step_size=LONGEST_STEP),
        "auto (ours)": optaxls.auto(),
        "SGD 0.1": optax.sgd(0.1),
        "SGD 0.01": optax.sgd(0.01),
    }
    gaps = {}
    for name, optimizer in optimizers.items():
        loss = problems.train_lanes(
            problem, lambda _, it=optimizer: it, SHARES, SEEDS, targets
        ).loss
        floor = np.repeat(floors, len(SEEDS))[:, None]
        gaps[name] = _last((loss - floor) / (loss[:, :1] - floor), len(SHARES))
    return gaps


def turn_noise() -> np.ndarray:
    """What SLS leaves of least squares with each noise."""
    problem = problems.least_squares(batch_size=10, epochs=40)
    targets = np.stack(
        [problems.least_squares(10, 40, noise).targets for noise in NOISES]
    )
    fits = np.linalg.lstsq(problem.inputs, targets.T)[0]
    floors = 0.5 * np.mean((problem.inputs @ fits - targets.T) ** 2, axis=0)
    sls = optaxls.sls(steps_per_epoch=problem.steps_per_epoch, c=0.5)
    loss = problems.train_lanes(problem, lambda _: sls, NOISES, SEEDS, targets).loss
    return _last(loss - np.repeat(floors, len(SEEDS))[:, None], len(NOISES))


def draw(dial: Dial) -> Figure:
    """The gaps left over both dials."""
    figure, (left, right) = pictures.panels(
        ["Flipped labels", "Noisy targets: the floor of SLS"], height=3.0
    )
    colours = (
        pictures.BLUE, pictures.GREEN, pictures.PINK, pictures.ORANGE,
        pictures.YELLOW, pictures.SKY,
    )  # fmt: skip
    shares = 100 * np.array(SHARES)
    for (name, gaps), colour in zip(dial.flips.items(), colours, strict=True):
        shown = np.maximum(gaps, 1e-8)
        left.plot(shares, shown, "o-", color=colour, label=name, ms=3, lw=1.3)
    left.axhline(1, color=pictures.BLACK, lw=0.7, ls=":")
    left.text(0, 1.4, "where it started", fontsize=7)
    left.set_xscale("symlog", linthresh=1, linscale=0.5)
    left.set_xticks(shares, [f"{share:g}" for share in shares])
    left.set_xlim(-0.15, 40)
    left.set(yscale="log", xlabel="flipped labels (%)")
    left.set(ylabel="gap left / gap at the start")
    left.legend(loc="lower right", ncols=2, **pictures.LEGEND)
    noises = np.array(NOISES[1:])
    right.plot(noises, dial.noise[1:], "o-", color=pictures.BLUE, ms=4, label="SLS")
    scale = dial.noise[-1] / noises[-1] ** 2
    line = scale * noises**2
    right.plot(noises, line, "--", color=pictures.BLACK, lw=0.8, label="~ noise²")
    right.set(xscale="log", yscale="log")
    right.set(xlabel="standard deviation of the noise", ylabel="f - f*")
    right.legend(loc="upper left", **pictures.LEGEND)
    return figure


def _findings(dial: Dial) -> tuple[str, ...]:
    two, last = SHARES.index(0.02), len(SHARES) - 1
    flips = dial.flips
    reached = ", ".join(f"{name} {gaps[last]:.2g}" for name, gaps in flips.items())
    return (
        f"With {SHARES[last]:.0%} of the labels flipped the gap left, in units of that "
        f"at the start, is {reached}: without interpolation every step that fits one "
        "batch spoils the others, and a short constant step is far better.",
        f"Already {SHARES[two]:.0%} of flipped labels leave SLS at "
        f"{flips['SLS'][two]:.2g} and SGD 0.1 at {flips['SGD 0.1'][two]:.2g}; how "
        "close is close enough depends on the problem and the batch size.",
        "Least squares with noise of deviation 0.01 and 0.1 leaves SLS at "
        f"{dial.noise[1]:.2g} and {dial.noise[2]:.2g}: close to interpolation works "
        "well there.",
    )


def measure() -> Claim:
    """Turns both dials in float64; about 15 seconds."""
    with jax.enable_x64(True):
        dial = Dial(turn_labels(), turn_noise())
    flips = dial.flips
    scaled = dial.noise[1:] / np.square(NOISES[1:])
    return Claim(
        title="From interpolation to noise",
        says="A line search without a decreasing step needs a model that fits all its "
        "data; it degrades as the data move away from that and then fails badly.",
        checks=(
            at_most("SLS without flipped labels, gap left", flips["SLS"][0], 1e-3),
            at_least("SLS with 30% of labels flipped, gap left", flips["SLS"][-1], 1),
            at_most("SGD 0.01 with 30% flipped, gap left", flips["SGD 0.01"][-1], 1e-2),
            at_most(
                "SLS on least squares without noise, f - f*", abs(dial.noise[0]), 1e-9
            ),
            at_most(
                "spread of SLS's floor / noise² over 4 noises",
                float(scaled.max() / scaled.min()),
                1.1,
            ),
        ),
        findings=_findings(dial),
        figure=draw(dial),
        source="Vaswani et al., Painless Stochastic Gradient, 2019, arXiv:1905.09997",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "interpolation_dial"))
