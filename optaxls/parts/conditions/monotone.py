"""Conditions that compare the loss of a trial with that at the present params."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from optaxls._core import checks
from optaxls.parts.conditions._excess import armijo_excess
from optaxls.parts.types import (
    Condition,
    Memory,
    Origin,
    Trial,
    Verdict,
    keep_memory,
    no_memory,
)


def stateless_condition(fn: Callable[[Origin, Trial], Any]) -> Condition:
    r"""Makes a condition that accepts a trial when ``fn(origin, trial) <= 0``.

    Args:
      fn: ``(origin, trial) -> excess`` in loss units, or a ``Verdict`` for a
        two-sided test. A NaN counts as too long. The search ignores differences below
        the rounding of the loss, the loss's rounding error.

    Returns:
      A condition for ``scale_by_line_search``.

    Cost:
      One loss evaluation per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> def relative_decrease(delta):
      ...     return optaxls.stateless_condition(
      ...         lambda origin, trial: trial.value - (1 - delta) * origin.value)
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = w^2: w+ = (1 - 2 eta) w
      ...     lambda w: jnp.sum(w**2), w, -2 * w, value=jnp.array(1.0), grad=2 * w,
      ...     condition=relative_decrease(0.9), initial_step=optaxls.constant(2.0),
      ...     search=optaxls.backtracking(0.5))
      >>> print(result.step_size)
      0.5

    Reference:
      No publication; defined here.
    """

    def judge(memory: Memory, origin: Origin, trial: Trial) -> Verdict:
        del memory
        answer = fn(origin, trial)
        return answer if isinstance(answer, Verdict) else Verdict(answer)

    return Condition(no_memory, keep_memory, judge, keep_memory)


def armijo(c: float = 0.1) -> Condition:
    r"""Accepts a trial whose loss falls by a share of what the gradient predicts.

    The inequality is :math:`f(w_+) \le f(w) + c\,\langle g, w_+ - w\rangle` with
    :math:`c` (``c``) and the gradient :math:`g` on the same batch. Along :math:`-g` the
    right side is :math:`f - c\,\eta\,\|g\|^2`.

    Args:
      c: share of the predicted decrease, dimensionless, in (0, 1); 0.1 for networks,
        0.5 in the convex theory.

    Returns:
      A condition for ``scale_by_line_search``.

    Raises:
      ValueError: ``c`` lies outside its range.

    Cost:
      One loss evaluation per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = w^2 / 2: accepts eta <= 2 (1 - c)
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(1.7))
      >>> print(result.step_size, result.num_trials)
      1.7 1

    Reference:
      Armijo 1966; Vaswani et al. 2019, arXiv:1905.09997, equation 1.
    """
    checks.require("c", c, "(0, 1)")
    return stateless_condition(
        lambda origin, trial: Verdict(armijo_excess(trial, origin.value, c))
    )


def goldstein(c: float = 0.1) -> Condition:
    r"""Accepts a trial by Armijo's inequality, if it is not too short either.

    The inequalities are :math:`f + (1 - c)\langle g, w_+ - w\rangle \le f(w_+) \le
    f + c\langle g, w_+ - w\rangle`. A trial that misses the left one is too short.

    Args:
      c: share of the predicted decrease, dimensionless, in (0, 1/2).

    Returns:
      A condition; pair it with ``backtracking(increase_factor > 1)``.

    Raises:
      ValueError: ``c`` lies outside its range.

    Cost:
      One loss evaluation per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # accepts 2 c <= eta <= 2 (1 - c)
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.goldstein(0.25), initial_step=optaxls.constant(0.125),
      ...     search=optaxls.backtracking(0.9, increase_factor=2.0))
      >>> print(result.step_size)
      0.5

    Reference:
      Goldstein 1965; Vaswani et al. 2019, arXiv:1905.09997, Algorithm 2.
    """
    checks.require("c", c, "(0, 0.5)")

    def fn(origin: Origin, trial: Trial) -> Verdict:
        too_long = armijo_excess(trial, origin.value, c)
        return Verdict(too_long, -armijo_excess(trial, origin.value, 1 - c))

    return stateless_condition(fn)


def always_accept() -> Condition:
    """Accepts every trial whose loss is finite, even if the loss rises.

    Returns:
      A condition for ``scale_by_line_search``.

    Cost:
      One loss evaluation per step as long as the losses are finite.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # log is not finite below 0
      ...     lambda w: -jnp.sum(jnp.log(w)), w, -w, value=jnp.array(0.0), grad=w,
      ...     condition=optaxls.always_accept(), initial_step=optaxls.constant(2.0),
      ...     search=optaxls.backtracking(0.25))
      >>> print(result.params)
      [0.5]

    Reference:
      No publication; defined here.
    """
    return stateless_condition(
        lambda origin, trial: Verdict(jnp.full_like(trial.value, -jnp.inf))
    )
