"""The searches again, in plain Python from the formulas: no JAX, no shared code.

A verdict is ``(too_long, too_short)`` in loss units; satisfied where <= 0.
"""

import math


def armijo(c):
    def verdict(reference, value, step, slope):
        return value - reference - c * step * slope, -math.inf

    return verdict


def goldstein(c):
    def verdict(reference, value, step, slope):
        too_long = value - reference - c * step * slope
        return too_long, reference + (1 - c) * step * slope - value

    return verdict


def backtrack(
    loss,
    verdict,
    reference,
    slope,
    first,
    shrink,
    grow=1.0,
    budget=100,
    fallback=1e-6,
    start=None,
):
    """``loss``: of the step size. Returns (step, trials, accepted, smallest margin).

    ``start``: the loss before the step, where that is not the reference.
    """
    start = reference if start is None else start
    step, held, margin, value = first, None, math.inf, math.nan
    for trial in range(1, budget + 1):
        value = loss(step)
        if math.isfinite(value):
            too_long, too_short = verdict(reference, value, step, slope)
            margin = min(margin, abs(too_long), abs(too_short))
        else:
            too_long, too_short = math.inf, -math.inf
        if too_long > 0:
            step *= shrink
            continue
        held = step
        if too_short > 0 and grow > 1:
            step *= grow
            continue
        return held, trial, True, margin
    if held is not None:
        return held, budget, True, margin
    retreat = min(fallback, step)
    value = loss(retreat)
    margin = min(margin, abs(value - start)) if math.isfinite(value) else margin
    fits = math.isfinite(value) and value <= start
    if math.isfinite(value):
        fits |= verdict(reference, value, retreat, slope)[0] <= 0
    return (retreat if fits else 0.0), budget + 1, False, margin


def bracket(loss, verdict, reference, slope, first, factor, budget=100):
    """The largest accepted step of ``first * factor**k`` next to a rejected one."""
    step, held, growing = first, None, True
    for trial in range(1, budget + 1):
        value = loss(step)
        fits = math.isfinite(value) and verdict(reference, value, step, slope)[0] <= 0
        if fits:
            held = step
            if not growing:
                return held, trial, True
            step *= factor
        else:
            if held is not None:
                return held, trial, True
            growing = False
            step /= factor
    return held, budget, held is not None


class Deviation:
    """The typical distance of losses from their reference, and the bound it sets."""

    def __init__(self):
        self.first, self.promised, self.typical = True, 0.0, 0.0

    def enter(self, value, reference):
        """The loss as it is remembered: at most ten deviations above the reference."""
        distance = 0.0 if self.first else abs(value - reference)
        deviation, self.first = max(distance, self.promised), False
        if self.typical > 0:
            value = min(value, reference + 10 * self.typical)
            self.typical += 0.1 * (min(deviation, 10 * self.typical) - self.typical)
        else:
            self.typical = deviation
        return value

    def step(self, promised):
        """After an accepted step that promised this decrease."""
        self.promised = promised
        self.typical = self.typical or promised


def zhang_hager(mean, weight, value, decay, deviation):
    """The next mean and weight: Q' = decay Q + 1, C' = (decay Q C + f) / Q'."""
    value = deviation.enter(value, mean)
    new_weight = decay * weight + 1
    return (decay * weight * mean + value) / new_weight, new_weight


def strong_wolfe(c1, c2):
    """Verdict of a trial: "long", "short", "over" or "fits"."""

    def verdict(value, slope, step, trial_value, trial_slope):
        if not math.isfinite(trial_value):
            return "long"
        if trial_value > value + c1 * step * slope:
            return "long"
        if trial_slope < -c2 * abs(slope):
            return "short"
        return "over" if trial_slope > c2 * abs(slope) else "fits"

    return verdict


def hermite_minimum(a, b):
    """The local minimum of the cubic through two (step, value, slope), else NaN.

    From the coefficients: p(u) = f + g u + q u^2 + r u^3 with u = step - a.
    """
    (x, f, g), (y, value, slope) = a, b
    h = y - x
    q = (3 * (value - f) / h - 2 * g - slope) / h
    r = (slope + g - 2 * (value - f) / h) / h**2
    inside = 4 * q * q - 12 * r * g
    if inside < 0 or 2 * q + math.sqrt(inside) == 0:
        return math.nan
    # The root at which the second derivative is positive, also where r is 0.
    return x - 2 * g / (2 * q + math.sqrt(inside))


def interpolate(loss, verdict, first, budget=20, growth=10.0):
    """``loss``: step -> (value, slope). Returns (step, trials, last verdict)."""
    low, high, step = (0.0, *loss(0.0)), None, first
    start, best, told = low, None, ""
    for trial in range(1, budget + 1):
        new = (step, *loss(step))
        told = verdict(start[1], start[2], *new)
        if told == "fits":
            return step, trial, told
        if told != "long" and (best is None or new[1] < best[1]):
            best = new
        if told == "short" and high is None:
            wanted, width = hermite_minimum(low, new), step - low[0]
            low, least, most = new, step + width / 10, step + (growth - 1) * width
            step = min(max(wanted, least), most) if wanted > step else most
            continue
        if told == "short":
            low = new
        else:
            high = new
        assert high is not None
        width = high[0] - low[0]
        if not math.isfinite(high[1]):
            step = low[0] + width / 4
            continue
        wanted = hermite_minimum(low, high)
        wanted = wanted if math.isfinite(wanted) else low[0] + width / 2
        step = min(max(wanted, low[0] + width / 10), high[0] - width / 10)
    return (best or (0.0,))[0], budget, told
