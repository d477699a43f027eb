"""A limit on the decrease of the loss that the gradient predicts for a trial."""

from typing import Any

import jax.numpy as jnp

from optaxls.parts.types import Condition, Origin, Trial, Verdict


def bounded(condition: Condition) -> Condition:
    r"""Adds to a condition that no step may promise far more than the loss is large.

    The promise of a trial is the decrease :math:`-\langle g, w_+ - w\rangle` that the
    gradient predicts. It must not be more than the largest of :math:`2|f|`, 2 and
    :math:`-\langle g, d\rangle`, the promise of a step size of 1.

    A loss that cannot be negative falls by no more than :math:`f`. If a condition asks
    for half of the promise, as ``armijo(0.5)`` does, no step with a larger promise can
    meet it. So the limit rejects nothing that such a loss allows. Along a loss
    without a lower bound, a search that lengthens the step would go on to the
    largest float.

    A loss of 0 with a gradient that is not 0 has an arbitrary zero. The limits 2 and
    :math:`-\langle g, d\rangle` still allow steps there.

    Args:
      condition: the condition that a trial within the limit has to meet.

    Returns:
      A condition with the memory of ``condition``.

    Cost:
      That of ``condition``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([0.0])
      >>> for condition in (optaxls.armijo(0.5), optaxls.bounded(optaxls.armijo(0.5))):
      ...     result = optaxls.line_search(  # a loss without a lower bound
      ...         lambda w: 5 - w[0], w, jnp.ones(1), value=jnp.array(5.0),
      ...         grad=-jnp.ones(1), condition=condition,
      ...         initial_step=optaxls.constant(1.0),
      ...         search=optaxls.bracketing(2.0, max_trials=20))
      ...     print(result.step_size)
      524288.0
      8.0

    Reference:
      No publication; defined here.
    """

    def judge(memory: Any, origin: Origin, trial: Trial) -> Verdict:
        verdict = condition.judge(memory, origin, trial)
        # In loss units. ``origin.slope`` is negative along a descent direction.
        most = jnp.maximum(2 * jnp.maximum(jnp.abs(origin.value), 1), -origin.slope)
        excess = -trial.linear_change - most
        return verdict._replace(too_long=jnp.maximum(verdict.too_long, excess))

    return condition._replace(judge=judge)
