"""A condition on the slope at a trial, besides that on its loss."""

import jax

from optaxls._core import checks
from optaxls.parts.conditions._excess import armijo_excess
from optaxls.parts.conditions.monotone import stateless_condition
from optaxls.parts.types import Condition, Origin, Trial, Verdict


def _slope_of(trial: Trial) -> jax.Array:
    if trial.slope is None:
        raise TypeError("wolfe: the trial has no slope: keep needs_slope=True")
    return trial.slope


def wolfe(c1: float = 1e-4, c2: float = 0.9) -> Condition:
    r"""Accepts a trial whose loss fell and whose slope is flatter (strong Wolfe).

    With :math:`\varphi(\eta) = f(w + \eta d)` the inequalities are :math:`\varphi(\eta)
    \le \varphi(0) + c_1\,\eta\,\varphi'(0)` and :math:`|\varphi'(\eta)| \le
    c_2\,|\varphi'(0)|`. A trial that is still too steep downhill is too short. One that
    is too steep uphill overshoots the minimum along the direction.

    After such a step the gradient's change along it is positive, which methods need
    that learn curvature from changes of the gradient.

    Args:
      c1: share of the predicted decrease, dimensionless, in (0, 1).
      c2: share of the slope that may be left, dimensionless, in (0, 1) and above
        ``c1``; 0.9 for quasi-Newton directions, 0.1 for conjugate gradients.

    Returns:
      A condition with ``needs_slope``: every trial evaluates the gradient too. Pair it
      with ``interpolating``. Other searches do not look at ``overshoots``: with them
      the slope may be as steep as it likes uphill (weak Wolfe).

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss with its gradient per trial, and one copy of the params for the gradient
      that is kept.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = w^2 / 2: |1 - eta| <= c2
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.wolfe(c2=0.5), initial_step=optaxls.constant(0.25),
      ...     search=optaxls.interpolating())
      >>> print(result.step_size, result.grad)
      1.0 [0.]

    Reference:
      Wolfe 1969; Nocedal and Wright, Numerical Optimization, 2006, equation 3.7.
    """
    checks.require("c1", c1, "(0, 1)")
    checks.require("c2", c2, "(0, 1)")
    if isinstance(c1, (int, float)) and isinstance(c2, (int, float)) and c2 <= c1:
        raise ValueError(f"c2 must lie in (c1, 1) with c1={c1!r}, got {c2!r}")

    def fn(origin: Origin, trial: Trial) -> Verdict:
        # Times the step size, so that all three are in loss units.
        change = trial.step_size * _slope_of(trial)
        limit = -c2 * trial.step_size * origin.slope
        too_long = armijo_excess(trial, origin.value, c1)
        return Verdict(too_long, -change - limit, change - limit)

    return stateless_condition(fn)._replace(needs_slope=True)
