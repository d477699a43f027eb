"""Searches that shrink a step that is too long."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from optaxls._core import checks
from optaxls.parts.searches._loop import one_at_a_time
from optaxls.parts.types import Problem, Search, Trial, Verdict


def _shrink_or_grow(shrink: Callable, increase_factor: Any, max_step_size: Any):
    """Builds the choice of the next trial: shorter, longer, or none if it fits."""

    def next_step(progress, trial, verdict, problem):
        del progress
        longer = jnp.minimum(trial.step_size * increase_factor, max_step_size)
        too_long = verdict.too_long > 0
        too_short = (verdict.too_short > 0) & (longer > trial.step_size)
        shorter = shrink(trial, verdict, problem)
        return jnp.where(too_long, shorter, longer), ~too_long & ~too_short

    return next_step


def _check_backtracking(
    decrease_factor: Any, increase_factor: Any, max_trials: Any, max_step_size: Any
) -> None:
    checks.require("decrease_factor", decrease_factor, "(0, 1)")
    checks.require("increase_factor", increase_factor, "[1, inf)")
    checks.require_integer("max_trials", max_trials, 1)
    checks.require("max_step_size", max_step_size, "(0, inf]")


def backtracking(
    decrease_factor: float = 0.9,
    increase_factor: float = 1.0,
    max_trials: int = 100,
    max_step_size: float = float("inf"),
) -> Search:
    r"""Shrinks a step that is too long, grows one that is too short.

    :math:`\eta \leftarrow \beta\eta` (``decrease_factor``) after a trial that is too
    long, :math:`\eta \leftarrow \min(\alpha\eta, \eta_{\max})` (``increase_factor``,
    ``max_step_size``) after one that is too short, until the condition holds.

    Args:
      decrease_factor: dimensionless, in (0, 1); Vaswani et al. 2019 use 0.9.
      increase_factor: dimensionless, >= 1; 1 never grows. Needed by ``goldstein``.
      max_trials: budget of loss evaluations, >= 1.
      max_step_size: growth stops here, and a trial here is never too short.

    Returns:
      A search for ``scale_by_line_search``. Where the budget ends between too long and
      too short, the last trial that was not too long is taken.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial, at most ``max_trials``; no copy of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = 2 w^2: Armijo holds up to 2 (1 - c) / 4
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(1.0),
      ...     search=optaxls.backtracking(0.5))
      >>> print(result.params, result.num_trials)
      [0.] 3

    Reference:
      Armijo 1966; Vaswani et al., Painless Stochastic Gradient, 2019,
      arXiv:1905.09997, Algorithm 1 (and 2 for the growing form).
    """
    _check_backtracking(decrease_factor, increase_factor, max_trials, max_step_size)

    def shrink(trial, verdict, problem):
        del verdict, problem
        return trial.step_size * decrease_factor

    next_step = _shrink_or_grow(shrink, increase_factor, max_step_size)
    return one_at_a_time(next_step, max_trials)


def adaptive_backtracking(
    decrease_factor: float = 0.9,
    increase_factor: float = 1.0,
    max_trials: int = 100,
    max_step_size: float = float("inf"),
    min_factor: float = 0.01,
) -> Search:
    r"""Backtracking whose shrink factor follows from how much the trial misses.

    The condition's excess is fitted by the parabola :math:`t_0 + a\alpha + q\alpha^2`
    in the fraction :math:`\alpha` of the rejected step: :math:`t_0` is the excess at no
    step, :math:`t_0 + a` that of the linear model, :math:`t_0 + a + q` the measured
    one. With :math:`\alpha` its positive root the step is multiplied by
    :math:`\max(\epsilon, \rho\alpha)` (``min_factor``, ``decrease_factor``). On a
    quadratic loss this lands at :math:`\rho` times the longest acceptable step at once.
    A trial without a finite loss shrinks by :math:`\rho`.

    Args:
      decrease_factor: rho, dimensionless, in (0, 1).
      increase_factor: factor after a trial that is too short, dimensionless, >= 1; 1
        never grows.
      max_trials: budget of loss evaluations, >= 1.
      max_step_size: growth stops at this step size, > 0; a trial here is never too
        short.
      min_factor: epsilon, the strongest shrink of one round, in (0, 1).

    Returns:
      A search for ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial, most often fewer trials than ``backtracking``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # longest acceptable step: 0.25
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(10.0),
      ...     search=optaxls.adaptive_backtracking(0.9))
      >>> print(f"{result.step_size:.3f} {result.num_trials}")
      0.225 2

    Reference:
      Cavalcanti, Lessard, Wilson, Adaptive Backtracking Line Search, 2024,
      arXiv:2408.13150. For monotone Armijo the root is their
      (1 - c) / (1 - c v); the parabola extends it to any reference value.
    """
    _check_backtracking(decrease_factor, increase_factor, max_trials, max_step_size)
    checks.require("min_factor", min_factor, "(0, 1)")

    def shrink(trial: Trial, verdict: Verdict, problem: Problem):
        origin = problem.origin
        value, zero = origin.value, jnp.zeros_like(origin.value)
        slope = None if trial.slope is None else origin.slope
        here = Trial(zero, value, zero, zero, slope, problem.grad)
        none = problem.judge(here).too_long
        linear = problem.judge(trial._replace(value=value + trial.linear_change))
        tilt = linear.too_long - none
        bend = verdict.too_long - linear.too_long
        root = (-tilt + jnp.sqrt(jnp.maximum(tilt**2 - 4 * bend * none, 0))) / (
            2 * bend
        )
        factor = jnp.where(jnp.isfinite(root) & (bend > 0), root, 1.0)
        factor = decrease_factor * jnp.clip(factor, 0, 1)
        return trial.step_size * jnp.maximum(factor, min_factor)

    next_step = _shrink_or_grow(shrink, increase_factor, max_step_size)
    return one_at_a_time(next_step, max_trials)
