"""What ``minimize`` returns, and what a callback sees."""

import enum
from typing import Any, NamedTuple

import jax

from optaxls.parts.types import Params


class StopReason(enum.IntEnum):
    """Why ``minimize`` stopped: ``StopReason(int(result.stop_reason)).name``.

    ``CONVERGED``: no entry of the gradient is above the tolerance. ``MAX_STEPS``: the
    budget is spent. ``STALLED``: steps no longer change the params, or the loss beyond
    its rounding error. ``NOT_FINITE``: the loss or its gradient is not finite.
    ``CALLBACK``: the callback returned True.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    STALLED = 2
    NOT_FINITE = 3
    CALLBACK = 4


class MinimizeHistory(NamedTuple):
    """What the loop saw, each of shape ``(max_steps + 1,)``; entry k is after k steps.

    Behind the last step real entries are NaN, and integer ones are 0.

    Attributes:
      value: the loss.
      optimality: the largest absolute entry of the gradient.
      num_evaluations: evaluations so far, int32.
    """

    value: jax.Array
    optimality: jax.Array
    num_evaluations: jax.Array


class MinimizeResult(NamedTuple):
    """What ``minimize`` returns.

    Attributes:
      params: where the loop ended.
      value: the loss there, scalar.
      num_steps: steps made, int32.
      num_evaluations: evaluations of the loss, with its gradient or alone, int32.
      converged: whether no entry of the gradient at ``params`` is above the tolerance.
      history: losses, optimality and evaluations after each step.
      optimality: the largest absolute entry of the gradient at ``params``, scalar.
      stop_reason: a ``StopReason``, int32.
      opt_state: the state of the optimizer, for ``eval_params`` and ``metrics``.
      num_trials: how many of the evaluations were trials of a search, int32.
    """

    params: Params
    value: jax.Array
    num_steps: jax.Array
    num_evaluations: jax.Array
    converged: jax.Array
    history: MinimizeHistory
    optimality: jax.Array
    stop_reason: jax.Array
    opt_state: Any
    num_trials: jax.Array


class MinimizeProgress(NamedTuple):
    """Where the loop is, as a callback sees it.

    ``num_idle`` and ``num_flat`` count the steps in a row that changed nothing.
    """

    params: Params
    opt_state: Any
    value: jax.Array
    grad: Params
    optimality: jax.Array
    num_steps: jax.Array
    num_evaluations: jax.Array
    num_idle: jax.Array
    num_flat: jax.Array
    least_value: jax.Array
    least_optimality: jax.Array
    num_trials: jax.Array
    history: MinimizeHistory
