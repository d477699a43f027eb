"""Makes every ``Finding``: measured numbers with units, and sentences on each."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from optaxls.diagnostics.doctor._trajectory import Trajectory
from optaxls.diagnostics.doctor.records import Finding
from optaxls.diagnostics.estimate import Estimate
from optaxls.diagnostics.growth import StrongGrowth, polyak_lojasiewicz, weak_growth
from optaxls.diagnostics.interpolation import distance_from_interpolation
from optaxls.diagnostics.labels import LabelTail
from optaxls.diagnostics.noise import tail_index

# Every example counts as fitted below this share of the first loss.
_INTERPOLATES = 1e-3
# Above this share, noise or too small a model may keep the loss up.
_NOISY = 3e-2
# A run has stalled if its last quarter leaves more than this share of the loss.
_STALLED = 0.95
# A tail index above the first is light; below the second the variance is infinite.
_LIGHT, _INFINITE = 8.0, 2.0
# The fit of growth is rough if one point needs this many times the fitted rho.
_ROUGH = 3.0
# Below this growth of a batch's gradient plain Nesterov momentum converges.
_NESTEROV = 2.0
# A noise floor below this share of the first squared gradients is float32's rounding.
_ROUNDING_SHARE = 1e-7
# Above both, a few classes hold most examples and most classes hold few.
_HEAVY_EXPONENT, _HEAVY_MASS = 0.5, 0.2


class Measured(NamedTuple):
    """The measurements that findings are made from."""

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
    """Median, least and largest of the finite numbers; NaN if there are none."""
    finite = jnp.where(jnp.isfinite(series), series, jnp.nan)
    return Estimate(jnp.nanmedian(finite), jnp.nanmin(finite), jnp.nanmax(finite))


_MEANING = {
    "interpolation": (
        "The model fits practically every example. A step size that suits a batch then"
        " suits all data: a line search on the batch converges."
    ),
    "noise": (
        "The model does not fit every example, and at the end of the run noise"
        " dominates the gradient of a batch. A line search fits each batch anew and"
        " stalls. Steps have to shrink, or batches to grow."
    ),
    "undecided": (
        "The model nearly fits every example, or does not yet. A line search works"
        " until the loss nears the part that cannot be fitted. A longer run would tell."
    ),
}


def _distance(measured: Measured) -> Estimate:
    values = measured.trajectory.samples.values
    return distance_from_interpolation(values[0], values[-1], measured.lower_bound)


def regime(measured: Measured) -> str:
    """Decides between ``"interpolation"``, ``"noise"`` and ``"undecided"``.

    There are two reasons to call it noise. Either the noise floor is certain, and at
    the end the variance of a batch's gradient exceeds its squared mean. Or much of the
    loss is left, and it has stopped falling.
    """
    samples = measured.trajectory.samples
    squared, gradient = samples.mean_squared_norm, samples.squared_mean_norm
    floor = measured.growth.noise_floor.low > _ROUNDING_SHARE * squared[0]
    dominates = squared[-1] - gradient[-1] > measured.batch_size * gradient[-1]
    # The last two points are three quarters of the run and its end.
    distance = _distance(measured)
    losses = samples.values.mean(1) - measured.lower_bound
    stalled = losses[-1] > _STALLED * losses[-2]
    if (floor and dominates) or (distance.low > _NOISY and stalled):
        return "noise"
    return "interpolation" if distance.high < _INTERPOLATES else "undecided"


def _acceleration(measured: Measured, of_batch: float) -> str:
    """What momentum can be expected to do with batches of this growth."""
    if regime(measured) == "noise":
        return " Acceleration cannot be expected: noise remains at the minimum."
    if of_batch < _NESTEROV:
        return " Acceleration can be expected, also of plain Nesterov momentum."
    return (
        " Acceleration can be expected of"
        f" accelerated_sgd(growth_constant={of_batch:.3g}, ...)."
        " Plain Nesterov momentum may diverge with such batches."
    )


def _growth(measured: Measured) -> list[Finding]:
    """Strong growth and the noise floor."""
    growth, batch = measured.growth, measured.batch_size
    first = measured.trajectory.samples.mean_squared_norm[0]
    share = float(growth.noise_floor.value / first)
    bound = float(growth.rho_bound)
    rough = (
        f" That is rough: one point of the run needs {bound:.3g}."
        if bound > _ROUGH * float(growth.rho.value)
        else ""
    )
    # Averaging over a batch divides the excess of rho over 1.
    of_batch = 1 + (float(growth.rho.value) - 1) / batch
    return [
        _finding(
            "strong growth",
            growth.rho,
            "",
            "Without the noise floor, squared gradients of examples are on average this"
            " multiple of the squared gradient of the loss. With batches of"
            f" {batch} the multiple is {of_batch:.3g}: SGD with a constant step needs"
            f" that many times the steps of gradient descent.{rough}"
            + _acceleration(measured, of_batch),
        ),
        _finding(
            "noise floor",
            growth.noise_floor,
            "squared gradient",
            "The mean squared gradient of examples where the gradient of the loss is 0:"
            f" {share:.2g} of its value at the start. It is 0 if the model can fit"
            " every example. Else it sets how near to the minimum constant steps come.",
        ),
    ]


def _constants(measured: Measured) -> list[Finding]:
    """Weak growth, the PL constant, and the smoothness."""
    samples = measured.trajectory.samples
    lowest = float(samples.values.mean(1).min())
    noisy = measured.growth.noise_floor.low > 0
    # With noise the mean loss cannot reach the bound of single examples. The lowest
    # mean loss of the run is then nearer to its minimum.
    minimum = lowest if noisy else measured.lower_bound
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
            "The least ratio of the squared gradient to twice the remaining decrease of"
            " the loss. If it stays away from 0, gradient descent converges linearly,"
            " without convexity. Here it is measured along one run.",
        ),
        _finding(
            "smoothness along the step",
            _range(measured.trajectory.smoothness),
            "loss / param^2",
            "The curvature along the steps of the run, each on its own batch. If it"
            " changes by orders of magnitude, no single step size fits the whole run.",
            "range",
        ),
    ]


def _noise(measured: Measured) -> list[Finding]:
    """Critical batch, tail of the noise, and sign likeness."""
    samples = measured.trajectory.samples
    gradient = samples.squared_mean_norm
    scale = (samples.mean_squared_norm - gradient) / gradient
    # At the start: later, fitted examples have no gradient and hence no noise.
    tail = tail_index(samples.noise_norms[0])
    kind = "The tail is neither light nor extreme."
    if tail.low > _LIGHT:
        kind = "The tail is light: there is nothing to clip."
    elif tail.high < _INFINITE:
        kind = "The tail is heavy: clip gradients, or take their signs."
    return [
        _finding(
            "critical batch",
            _range(scale),
            "examples",
            "The variance of the gradient of an example, over the squared gradient of"
            " the loss. Batches larger than this hardly lower the noise of a step. In"
            " much smaller batches noise is larger than the gradient.",
            "range",
        ),
        _finding(
            "noise tail index",
            tail,
            "",
            "How fast large gradient noise becomes rare, measured over examples at the"
            f" start. Below 2 its variance is infinite. {kind}",
        ),
        _finding(
            "sign-likeness of Adam",
            _range(measured.trajectory.sign_likeness),
            "cosine",
            "The cosine between Adam's update and its sign. It is 1 for sign descent,"
            " 0.8 for normal random numbers, and less if few coordinates are large.",
            "range",
        ),
    ]


def _labels(tail: LabelTail) -> list[Finding]:
    """Zipf exponent and mass of rare classes."""
    heavy = is_heavy(tail)
    share = Estimate(tail.rare_mass, tail.rare_mass, tail.rare_mass)
    return [
        _finding(
            "Zipf exponent",
            tail.zipf_exponent,
            "",
            "Class frequencies fall like 1 / rank to this power. It is 0 for balanced"
            " classes and about 1 for words."
            + (
                " The tail is heavy: gradient descent learns rare classes slowly."
                if heavy
                else " The tail is light: classes are no reason to take Adam."
            ),
        ),
        _finding(
            "mass of rare classes",
            share,
            "of the examples",
            "The share of the examples whose class is at most a tenth as frequent as"
            " the most frequent one. Rare classes matter to the loss only if this is"
            " large.",
            "exact",
        ),
    ]


def is_heavy(tail: LabelTail | None) -> bool:
    """Whether rare classes hold a large part of the examples."""
    if tail is None:
        return False
    # The low end: an uncertain tail is no reason to recommend anything.
    exponent = float(tail.zipf_exponent.low)
    return exponent > _HEAVY_EXPONENT and float(tail.rare_mass) > _HEAVY_MASS


def findings(measured: Measured) -> dict[str, Finding]:
    """Makes all findings, by name."""
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
