"""The search that takes the minimum of a polynomial through the last trials."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.parts.searches._loop import Progress, after_trial, repeat
from optaxls.parts.types import Found, Problem, Search, Trial

# The next trial keeps this share of the interval away from its ends.
_MARGIN = 0.1
# Of a trial whose loss is not finite nothing can be interpolated.
_SHRINK = 0.25


class _Point(NamedTuple):
    """A step size, the loss there and its slope; a slope of NaN is not known."""

    step_size: jax.Array
    value: jax.Array
    slope: jax.Array


class _Interval(NamedTuple):
    """The longest trial so far that was too short, and the shortest too long one.

    ``low`` begins at the origin, ``high`` at infinity.
    """

    low: _Point
    high: _Point


def _point(trial: Trial) -> _Point:
    unknown = jnp.full_like(trial.value, jnp.nan)
    slope = unknown if trial.slope is None else trial.slope
    return _Point(trial.step_size, trial.value, slope)


def _cubic_minimum(low: _Point, high: _Point) -> jax.Array:
    """The minimum of the cubic with both values and slopes; NaN if there is none."""
    width = high.step_size - low.step_size
    secant = (high.value - low.value) / width
    bend = low.slope + high.slope - 3 * secant
    root = jnp.sqrt(bend**2 - low.slope * high.slope)
    return low.step_size - width * low.slope / (root - bend - low.slope)


def _quadratic_minimum(low: _Point, high: _Point) -> jax.Array:
    """The minimum of the parabola with both values and the slope of ``low``."""
    width = high.step_size - low.step_size
    bend = (high.value - low.value) / width - low.slope
    return low.step_size - 0.5 * width * low.slope / jnp.where(bend > 0, bend, jnp.nan)


def _inside(low: _Point, high: _Point) -> jax.Array:
    """The next trial between two points, at a distance from both."""
    width = high.step_size - low.step_size
    cubic, parabola = _cubic_minimum(low, high), _quadratic_minimum(low, high)
    wanted = jnp.where(jnp.isfinite(cubic), cubic, parabola)
    middle = low.step_size + 0.5 * width
    wanted = jnp.where(jnp.isfinite(wanted), wanted, middle)
    least = low.step_size + _MARGIN * width
    wanted = jnp.clip(wanted, least, high.step_size - _MARGIN * width)
    blind = low.step_size + _SHRINK * width
    return jnp.where(jnp.isfinite(high.value), wanted, blind)


def _beyond(low: _Point, new: _Point, max_growth: float) -> jax.Array:
    """The next trial after ``new``, up to ``max_growth`` times its distance to low."""
    width = new.step_size - low.step_size
    wanted = _cubic_minimum(low, new)
    most = new.step_size + (max_growth - 1) * width
    least = new.step_size + _MARGIN * width
    # A minimum behind the trial is that of a cubic which falls ahead of it.
    ahead = wanted > new.step_size
    return jnp.where(ahead, jnp.clip(wanted, least, most), most)


def interpolating(max_trials: int = 20, max_growth: float = 10.0) -> Search:
    r"""Tries the minimum of a cubic or parabola through the trials made so far.

    The search keeps an interval: its lower end is the origin or a trial that was too
    short, its upper end a trial that was too long or overshot. The next trial is the
    minimum of the cubic through both losses and slopes. Without slopes it is that of
    the parabola through both losses and the lower slope. It keeps a tenth of the
    interval away from both ends. While there is no upper end, trials grow by at most
    ``max_growth``. After a loss that is not finite, a quarter of the interval is left.

    Args:
      max_trials: budget of evaluations, >= 1.
      max_growth: the most by which one trial goes beyond the last, measured from the
        lower end, dimensionless, > 1.

    Returns:
      A search for ``scale_by_line_search``. Where the budget ends before a trial is
      accepted, the trial of the smallest loss that was not too long is taken.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One evaluation per trial: the loss alone, or with its gradient under a condition
      that needs slopes, such as ``wolfe``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # a parabola: its minimum is met at once
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(1.0),
      ...     search=optaxls.interpolating())
      >>> print(result.params, result.step_size, result.num_trials)
      [0.] 0.25 2

    Reference:
      Nocedal and Wright, Numerical Optimization, 2006, equation 3.59 and section 3.5;
      Moré and Thuente 1994. The interval and the margins are defined here.
    """
    checks.require_integer("max_trials", max_trials, 1)
    checks.require("max_growth", max_growth, "(1, inf)")

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Found:
        def advance(progress: Progress) -> Progress:
            trial = problem.probe(progress.next_step)
            verdict = problem.judge(trial)
            spent = progress.num_trials >= max_trials
            low, high = progress.memory
            new = _point(trial)
            too_long, too_short = verdict.too_long > 0, verdict.too_short > 0
            above = too_long | (verdict.overshoots > 0)
            grows = too_short & ~above & ~jnp.isfinite(high.step_size)
            longer = _beyond(low, new, max_growth)
            high = trees.select(above, new, high)
            low = trees.select(too_short & ~above, new, low)
            best = ~progress.holds | (trial.value < progress.held_value)
            done = ~above & ~too_short
            descends = jnp.isfinite(trial.value) & (trial.value < problem.origin.value)
            fits = ~too_long | (spent & descends)
            held = done | spent | (fits & best)
            return after_trial(progress, trial, held, fits)._replace(
                next_step=jnp.where(grows, longer, _inside(low, high)),
                done=done,
                memory=_Interval(low, high),
            )

        value, slope = problem.origin.value, problem.origin.slope
        infinite = jnp.full_like(value, jnp.inf)
        start = _Point(jnp.zeros_like(value), value, slope)
        interval = _Interval(start, _Point(infinite, infinite, infinite))
        return repeat(advance, problem, first_step, enabled, max_trials, interval)

    return search
