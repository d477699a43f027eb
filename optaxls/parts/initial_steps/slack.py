"""An initial step that grows where the last accepted step was far too careful."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import shortest
from optaxls.parts.initial_steps._resume import (
    COLLAPSE,
    ResumeMemory,
    new_memory,
    resume,
)
from optaxls.parts.types import InitialStep, Origin, Outcome


def grow_when_slack(
    initial_step_size: float = 1.0, growth: float = 1.25, slack: float = 5.0
) -> InitialStep:
    r"""Starts from the last step size, longer where the loss was far less curved.

    The last step was slack if
    :math:`\|w_+ - w\|^2 > s \cdot 2\eta\,(f(w_+) - f(w) - \langle g, w_+ - w\rangle)`
    with s = ``slack``: the curvature along it was below :math:`1/(s\eta)`. Then the
    next search starts from ``growth`` times its step size, else from its step size. A
    curvature that rounding of the loss hides does not count.

    Args:
      initial_step_size: > 0, the first trial of the first step.
      growth: >= 1, dimensionless, after a slack step.
      slack: s >= 1, dimensionless.

    Returns:
      An initial step for ``quadratic_bound`` and full batches. After a failed search
      the next one starts where it stopped.

    State:
      ``start``: the step size that the next search starts from, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.quadratic_bound(), optaxls.grow_when_slack(0.125, 2.0))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(3):            # f = w^2 / 2: slack below 1/5
      ...     _, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                          value_fn=lambda w: 0.5 * jnp.sum(w**2))
      ...     print(state.step_size)
      0.125
      0.25
      0.25

    Reference:
      Scheinberg, Goldfarb, Bai 2014, Fast First-Order Methods for Composite Convex
      Optimization with Backtracking, for steps that also grow. The test is that of
      Mishkin's r_fista code (2022).
    """
    checks.require("initial_step_size", initial_step_size, "(0, inf)")
    checks.require("growth", growth, "[1, inf)")
    checks.require("slack", slack, "[1, inf)")

    def init(params: Any) -> ResumeMemory:
        return new_memory(initial_step_size, trees.scalar_dtype(params))

    def propose(memory: ResumeMemory, origin: Origin) -> jax.Array:
        del origin
        return memory.start

    def commit(memory: ResumeMemory, origin: Origin, outcome: Outcome) -> ResumeMemory:
        trial = outcome.trial
        bend = trial.value - origin.value - trial.linear_change
        allowed = trial.sqdistance / (2 * slack * trial.step_size)
        grows = outcome.accepted & (bend < allowed)
        grows &= allowed > origin.value_rounding
        factor = jnp.where(grows, growth, 1)
        reached = jnp.maximum(outcome.end_step * factor, shortest(memory.start.dtype))
        start = jnp.where(outcome.num_trials > 0, reached, memory.start)
        return resume(memory, outcome, start, start < COLLAPSE * memory.start)

    return InitialStep(init, propose, commit, uses=())
