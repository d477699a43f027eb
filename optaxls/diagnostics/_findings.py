"""From estimates to findings: numbers with units, and two sentences on each."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from optaxls.diagnostics._estimate import Estimate
from optaxls.diagnostics._trajectory import Trajectory
from optaxls.diagnostics.growth import StrongGrowth, polyak_lojasiewicz, weak_growth
from optaxls.diagnostics.interpolation import distance_from_interpolation
from optaxls.diagnostics.labels import LabelTail
from optaxls.diagnostics.records import Finding
from optaxls.diagnostics.shape import tail_index

# Below this share of its first value the loss counts as gone: every example fitted.
_INTERPOLATES = 1e-3
# Above it, noise or a model too small keeps the loss up.
_NOISY = 3e-2
# So much of the loss is left after the last quarter of a run that fell no more.
_STALLED = 0.95
# Tails are light above, and of infinite variance below.
_LIGHT, _INFINITE = 8.0, 2.0
# The fit of growth is rough where a point needs so many times its rho.
_ROUGH = 3.0
# A floor below this share of the first squared gradients is float32's rounding.
_ROUNDING_SHARE = 1e-7
# From here on a few classes hold most examples and most classes few.
_HEAVY_EXPONENT, _HEAVY_MASS = 0.5, 0.2


class Measured(NamedTuple):
    """All that was measured, before it is put in words."""

    trajectory: Trajectory
    growth: StrongGrowth
    tail: LabelTail | None
    lower_bound: float
    batch_size: int


def _finding(
    name: str, estimate: Estimate, unit: str, meaning: str, interval: str = "95 %"
) -> Finding:
    value, low, high = (float(number) for number in estimate)
    return Finding(name, value, low, high, interval, unit, meaning)


def _range(series: Any) -> Estimate:
    """Median, least and largest of what is finite; NaN if nothing is."""
    known = jnp.where(jnp.isfinite(series), series, jnp.nan)
    return Estimate(jnp.nanmedian(known), jnp.nanmin(known), jnp.nanmax(known))


_MEANING = {
    "interpolation": (
        "The model fits practically every example. A step size that suits the batch"
        " suits the whole: a search on the mini-batch converges."
    ),
    "noise": (
        "Examples are not fitted, and at the end of the run their noise rules the"
        " gradient of a batch. A search on the mini-batch fits each batch anew and"
        " stalls; steps have to fall or batches to grow."
    ),
    "undecided": (
        "The examples are nearly fitted, or not yet. A search works until the loss"
        " nears what cannot be fitted; a longer run would tell."
    ),
}


def _distance(measured: Measured) -> Estimate:
    values = measured.trajectory.samples.values
    return distance_from_interpolation(values[0], values[-1], measured.lower_bound)


def regime(measured: Measured) -> str:
    """``"interpolation"``, ``"noise"`` or ``"undecided"``.

    Noise: the floor is certain, and at the end the variance of a batch's gradient is
    above the square of its mean. Or: much of the loss is left, and it falls no more.
    """
    samples = measured.trajectory.samples
    squared, gradient = samples.mean_squared_norm, samples.squared_mean_norm
    floor = measured.growth.noise_floor.low > _ROUNDING_SHARE * squared[0]
    ruled = squared[-1] - gradient[-1] > measured.batch_size * gradient[-1]
    distance = _distance(measured)
    losses = samples.values.mean(1) - measured.lower_bound
    stalled = losses[-1] > _STALLED * losses[-2]
    if (floor and ruled) or (distance.low > _NOISY and stalled):
        return "noise"
    return "interpolation" if distance.high < _INTERPOLATES else "undecided"


def _growth(measured: Measured) -> list[Finding]:
    growth, batch = measured.growth, measured.batch_size
    first = measured.trajectory.samples.mean_squared_norm[0]
    share = float(growth.noise_floor.value / first)
    bound = float(growth.rho_bound)
    rough = (
        f" That is rough: one point of the run needs {bound:.3g}."
        if bound > _ROUGH * float(growth.rho.value)
        else ""
    )
    of_batch = 1 + (float(growth.rho.value) - 1) / batch
    return [
        _finding(
            "strong growth",
            growth.rho,
            "",
            "Squared gradients of examples are this multiple of that of the loss, noise"
            f" apart. With batches of {batch} the multiple is {of_batch:.3g}: SGD with"
            " a constant step needs that many times the steps of gradient descent."
            f"{rough}",
        ),
        _finding(
            "noise floor",
            growth.noise_floor,
            "squared gradient",
            "What remains of the squared gradients of examples where that of the loss"
            f" is 0: {share:.2g} of where training began. It is 0 if the model can fit"
            " every example, and else sets the ball in which constant steps end.",
        ),
    ]


def _constants(measured: Measured) -> list[Finding]:
    samples = measured.trajectory.samples
    # The bound is that of each example; the loss itself has come at least as low as
    # the best point.
    lowest = float(samples.values.mean(1).min())
    minimum = measured.lower_bound
    noisy = measured.growth.noise_floor.low > 0
    minimum = lowest if noisy else minimum
    weak = weak_growth(samples, measured.lower_bound)
    return [
        _finding(
            "weak growth",
            weak,
            "1 / step size",
            "The largest ratio of squared gradients to twice the loss. If the model"
            f" interpolates, a constant step of {float(1 / weak.value):.2g} converges"
            " on convex losses.",
        ),
        _finding(
            "Polyak-Lojasiewicz constant",
            polyak_lojasiewicz(samples, minimum),
            "loss / param^2",
            "The least ratio of the squared gradient to twice what the loss can still"
            " fall. Bounded away from 0 it gives linear convergence without convexity.",
        ),
        _finding(
            "smoothness along the step",
            _range(measured.trajectory.smoothness),
            "loss / param^2",
            "The curvature that the steps met, on their batch. Where it changes by"
            " orders of magnitude no single step size fits the whole of training.",
            "range",
        ),
    ]


def _noise(measured: Measured) -> list[Finding]:
    samples = measured.trajectory.samples
    gradient = samples.squared_mean_norm
    scale = (samples.mean_squared_norm - gradient) / gradient
    tail = tail_index(samples.noise_norms[0])
    verdict = "This is neither light nor extreme."
    if tail.low > _LIGHT:
        verdict = "This is light: there is nothing to clip."
    elif tail.high < _INFINITE:
        verdict = "This is heavy: clip, or take signs."
    return [
        _finding(
            "critical batch",
            _range(scale),
            "examples",
            "Variance of the gradient over its square, along the run. Larger batches"
            " than this hardly lower the noise of a step; much smaller ones are noise.",
            "range",
        ),
        _finding(
            "noise tail index",
            tail,
            "",
            "How slowly large gradient noise becomes rare, over examples at the start;"
            f" below 2 its variance is infinite. {verdict}",
        ),
        _finding(
            "sign-likeness of Adam",
            _range(measured.trajectory.sign_likeness),
            "cosine",
            "The cosine between Adam's update and its sign. 1 is sign descent, 0.8"
            " normal numbers, less if few coordinates rule.",
            "range",
        ),
    ]


def _labels(tail: LabelTail) -> list[Finding]:
    heavy = is_heavy(tail)
    share = Estimate(tail.rare_mass, tail.rare_mass, tail.rare_mass)
    return [
        _finding(
            "Zipf exponent",
            tail.zipf_exponent,
            "",
            "Class frequencies fall as rank to this power; 0 is balanced, 1 is words."
            + (
                " That is heavy: gradient descent learns the rare classes slowly."
                if heavy
                else " That is light: classes are no reason for Adam."
            ),
        ),
        _finding(
            "mass of rare classes",
            share,
            "of the examples",
            "Share of the examples whose class is at most a tenth as frequent as the"
            " most frequent. Only if it is large do rare classes matter to the loss.",
            "exact",
        ),
    ]


def is_heavy(tail: LabelTail | None) -> bool:
    """Whether rare classes hold a good part of the examples."""
    if tail is None:
        return False
    exponent = float(tail.zipf_exponent.low)
    return exponent > _HEAVY_EXPONENT and float(tail.rare_mass) > _HEAVY_MASS


def findings(measured: Measured) -> dict[str, Finding]:
    """All of them, by name."""
    distance = _finding(
        "distance from interpolation",
        _distance(measured),
        "of the first loss",
        _MEANING[regime(measured)],
    )
    found = [distance, *_growth(measured), *_constants(measured)]
    found += _noise(measured)
    if measured.tail is not None:
        found += _labels(measured.tail)
    return {finding.name: finding for finding in found}
