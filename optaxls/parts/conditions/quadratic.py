"""The condition of the proximal gradient method."""

import jax

from optaxls.parts.conditions.monotone import stateless_condition
from optaxls.parts.types import Condition, Origin, Trial


def quadratic_bound() -> Condition:
    r"""Accepts a trial that lies below the quadratic model with curvature 1 / step.

    :math:`f(w_+) \le f(w) + \langle g, w_+ - w\rangle + \|w_+ - w\|^2/(2\eta)`. It
    holds for all :math:`\eta \le 1/L`. On the line along :math:`-g` it is
    ``armijo(0.5)``. ``fista`` needs it along a path with a ``prox``: Armijo's
    inequality there allows steps of up to twice that length.

    Returns:
      A condition for ``scale_by_line_search``, along minus the gradient.

    Cost:
      One loss evaluation per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = 2 w^2: L = 4
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.quadratic_bound(), initial_step=optaxls.constant(1.0),
      ...     search=optaxls.backtracking(0.5))
      >>> print(result.step_size)
      0.25

    Reference:
      Beck and Teboulle 2009, A Fast Iterative Shrinkage-Thresholding Algorithm, the
      backtracking of section 4.
    """

    def excess(origin: Origin, trial: Trial) -> jax.Array:
        bend = trial.value - origin.value - trial.linear_change
        return bend - trial.sqdistance / (2 * trial.step_size)

    return stateless_condition(excess)
