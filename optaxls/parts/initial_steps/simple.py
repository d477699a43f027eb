"""Initial steps that need neither the gradient nor the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.robust import shortest
from optaxls.parts.initial_steps._resume import (
    COLLAPSE,
    ResumeMemory,
    new_memory,
    resume,
)
from optaxls.parts.types import (
    InitialStep,
    Memory,
    Origin,
    Outcome,
    keep_memory,
    no_memory,
)


def constant(step_size: float) -> InitialStep:
    r"""Starts every search from the same step size :math:`\eta_0` (``step_size``).

    Args:
      step_size: > 0; multiplies the direction. 1 suits Newton-like directions.

    Returns:
      An initial step.

    Raises:
      ValueError: ``step_size`` lies outside its range.

    Cost:
      No evaluation.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.constant(0.5))
      >>> w = jnp.array([1.0])
      >>> updates, state = tx.update(-w, tx.init(w), w)
      >>> print(optax.apply_updates(w, updates))
      [0.5]

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, the "restart" reset.
    """
    checks.require("step_size", step_size, "(0, inf)")

    def propose(memory: Memory, origin: Origin) -> jax.Array:
        del memory
        return jnp.asarray(step_size, origin.value.dtype)

    return InitialStep(no_memory, propose, keep_memory, uses=())


def grow(
    initial_step_size: float = 1.0,
    growth: float = 2.0,
    steps_per_epoch: float = 1.0,
    max_step_size: float = float("inf"),
) -> InitialStep:
    r"""Starts every search from the last step size times a growth factor.

    The proposal is :math:`\min(\gamma^{1/N}\,\eta_{k-1},\ \eta_{\max})` with
    :math:`\gamma` (``growth``) and :math:`N` (``steps_per_epoch``). If no search
    shortens the step for an epoch, it grows by the factor :math:`\gamma`. The first
    proposal is :math:`\gamma^{1/N}` times ``initial_step_size``. With ``growth=1`` the
    step size does not grow.

    Args:
      initial_step_size: the step size that the first proposal grows from, > 0.
      growth: dimensionless, >= 1, per epoch; 2 in the paper.
      steps_per_epoch: updates per epoch, > 0: ``dataset_size / batch_size``.
      max_step_size: the longest proposal, > 0; inf for none.

    Returns:
      An initial step. After a failed search the next one starts where it stopped. If
      that accepts its first trial, the failure was due to one batch. Then the proposal
      after it grows from the step size before the failure.

    State:
      ``start``: the step size that the next proposal grows from, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.armijo(0.1), optaxls.grow(0.25, 2.0))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(2):
      ...     _, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                          value_fn=lambda w: 0.5 * jnp.sum(w**2))
      ...     print(state.step_size)
      0.5
      1.0

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 2 (reset 1 of its code).
    """
    checks.require("initial_step_size", initial_step_size, "(0, inf)")
    checks.require("growth", growth, "[1, inf)")
    checks.require("steps_per_epoch", steps_per_epoch, "(0, inf)")
    checks.require("max_step_size", max_step_size, "(0, inf]")

    def init(params: Any) -> ResumeMemory:
        return new_memory(initial_step_size, trees.scalar_dtype(params))

    def propose(memory: ResumeMemory, origin: Origin) -> jax.Array:
        del origin
        longer = memory.start * growth ** (1 / steps_per_epoch)
        return jnp.minimum(longer, max_step_size)

    def commit(memory: ResumeMemory, origin: Origin, outcome: Outcome) -> ResumeMemory:
        del origin
        # A chain of failures must not underflow to 0, from which nothing grows.
        least = shortest(memory.start.dtype)
        reached = jnp.maximum(outcome.end_step, least)
        start = jnp.where(outcome.num_trials > 0, reached, memory.start)
        collapsed = start < COLLAPSE * memory.start
        return resume(memory, outcome, start, collapsed)

    return InitialStep(init, propose, commit, uses=())


def capped(rule: InitialStep, max_step_size: float) -> InitialStep:
    r"""Limits the proposals of another initial step to ``max_step_size``.

    Args:
      ``rule``: the initial step whose proposals are limited.
      max_step_size: the longest proposal, > 0.

    Returns:
      An initial step with the memory of ``rule``.

    Raises:
      ValueError: ``max_step_size`` lies outside its range.

    Cost:
      That of ``rule``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_initial_step(
      ...     optaxls.capped(optaxls.constant(3.0), max_step_size=1.0))
      >>> w = jnp.array([2.0])
      >>> _, state = tx.update(-w, tx.init(w), w)
      >>> print(state.step_size)
      1.0

    Reference:
      The bound of SPS_max, Loizou et al. 2021, arXiv:2002.10542.
    """
    checks.require("max_step_size", max_step_size, "(0, inf]")

    def propose(memory: Memory, origin: Origin) -> jax.Array:
        return jnp.minimum(rule.propose(memory, origin), max_step_size)

    return rule._replace(propose=propose)


class ScheduleMemory(NamedTuple):
    """The number of steps made on batches with a finite loss and slope, int32."""

    num_steps: jax.Array


def scheduled(schedule: optax.Schedule) -> InitialStep:
    r"""Starts every search from the step size that an optax schedule gives.

    The results of searches do not change it. The first trial of step
    :math:`k = 0, 1, \dots` has the step size :math:`s(k)` (``schedule``).

    Args:
      schedule: ``count -> step size``, such as ``optax.cosine_decay_schedule(...)``.
        ``count`` is int32. A step size of 0 makes no step.

    Returns:
      An initial step. It counts every step on a batch whose loss and slope are finite,
      also one after a failed search.

    State:
      ``num_steps``: the number of steps counted, int32.

    Cost:
      That of ``schedule``.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_initial_step(
      ...     optaxls.scheduled(optax.linear_schedule(1.0, 0.0, 4)))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(3):
      ...     _, state = tx.update(-w, state, w)
      ...     print(state.step_size)
      1.0
      0.75
      0.5

    Reference:
      No publication; the schedules are those of optax.
    """

    def init(params: Any) -> ScheduleMemory:
        del params
        return ScheduleMemory(jnp.zeros((), jnp.int32))

    def propose(memory: ScheduleMemory, origin: Origin) -> jax.Array:
        return jnp.asarray(schedule(memory.num_steps), origin.value.dtype)

    def commit(memory: ScheduleMemory, origin: Origin, outcome: Outcome):
        del origin, outcome
        return ScheduleMemory(jnp.asarray(optax.safe_increment(memory.num_steps)))

    return InitialStep(init, propose, commit, uses=())
