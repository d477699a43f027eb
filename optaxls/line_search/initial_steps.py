"""Initial steps: which step size to try first. Siblings; none knows the engine."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls import _checks, _tree
from optaxls._types import (
    InitialStep,
    Memory,
    Origin,
    Outcome,
    keep_memory,
    no_memory,
)
from optaxls.line_search import _resume
from optaxls.line_search._resume import ResumeMemory


def constant(step_size: float) -> InitialStep:
    r"""The same first step every time: :math:`\eta_0` (``step_size``).

    Args:
      step_size: > 0; multiplies the direction. 1 suits Newton-like directions.

    Returns:
      An initial step.

    Raises:
      ValueError: ``step_size`` lies outside its range.

    Cost:
      Nothing.

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
    _checks.require("step_size", step_size, "(0, inf)")

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
    r"""The last step size, a little longer.

    :math:`\min(\gamma^{1/N}\,\eta_{k-1},\ \eta_{\max})` with :math:`\gamma`
    (``growth``), :math:`N` (``steps_per_epoch``): over an epoch without a shrink the
    step grows by :math:`\gamma`. The first proposal is
    :math:`\gamma^{1/N}` times ``initial_step_size``. ``growth=1`` keeps the step.

    Args:
      initial_step_size: > 0.
      growth: dimensionless, >= 1, per epoch; 2 in the paper.
      steps_per_epoch: updates per epoch, > 0: ``dataset_size / batch_size``.
      max_step_size: > 0.

    Returns:
      An initial step. After a failed search it goes on where the search stopped; if
      that is accepted at once, the failure was one batch's and the step before it is
      taken up again.

    State:
      ``level``: the step size that the next proposal grows from, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing.

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
    _checks.require("initial_step_size", initial_step_size, "(0, inf)")
    _checks.require("growth", growth, "[1, inf)")
    _checks.require("steps_per_epoch", steps_per_epoch, "(0, inf)")
    _checks.require("max_step_size", max_step_size, "(0, inf]")

    def init(params: Any) -> ResumeMemory:
        return _resume.start(initial_step_size, _tree.scalar_dtype(params))

    def propose(memory: ResumeMemory, origin: Origin) -> jax.Array:
        del origin
        longer = memory.level * growth ** (1 / steps_per_epoch)
        return jnp.minimum(longer, max_step_size)

    def commit(memory: ResumeMemory, origin: Origin, outcome: Outcome) -> ResumeMemory:
        del origin
        # A chain of failures must not underflow to 0, from which nothing grows.
        least = jnp.sqrt(jnp.finfo(memory.level.dtype).tiny)
        reached = jnp.maximum(outcome.trial.step_size, least)
        level = jnp.where(outcome.num_trials > 0, reached, memory.level)
        collapsed = level < _resume.COLLAPSE * memory.level
        return _resume.resume(memory, outcome, level, collapsed)

    return InitialStep(init, propose, commit, uses=())


class BarzilaiBorweinMemory(NamedTuple):
    """The last params and gradient, and the step size that led away from them."""

    last_params: Any
    last_grad: Any
    last_step: jax.Array


def barzilai_borwein(
    initial_step_size: float = 1.0,
    min_step_size: float = 1e-10,
    max_step_size: float = 1e10,
) -> InitialStep:
    r"""The step size of the secant equation.

    :math:`\eta = \langle s, s\rangle / \langle s, y\rangle`, where :math:`s` and
    :math:`y` are the last changes of params and gradient, clipped to
    [``min_step_size``, ``max_step_size``]. Where the curvature
    :math:`\langle s, y\rangle` is not positive the last step size is proposed again.
    Made for the plain negative gradient of one fixed loss (full batch): between
    different mini-batches :math:`y` is mostly noise.

    Args:
      initial_step_size: > 0, for the first step.
      min_step_size: > 0.
      max_step_size: > 0.

    Returns:
      An initial step; pair it with ``window_armijo`` for the spectral gradient method.

    State:
      ``last_step``, scalar; ``last_params`` and ``last_grad``, like params.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation; two copies of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.barzilai_borwein(0.1))
      >>> w, state = jnp.array([1.0]), None
      >>> state = tx.init(w)
      >>> for _ in range(2):       # f = 2 w^2: the secant finds 1 / L = 1 / 4
      ...     updates, state = tx.update(-4 * w, state, w, grad=4 * w)
      ...     w = optax.apply_updates(w, updates)
      >>> print(f"{state.step_size:.4f} {abs(w[0]):.4f}")
      0.2500 0.0000

    Reference:
      Barzilai and Borwein 1988; Raydan, The Barzilai and Borwein Gradient Method for
      the Large Scale Unconstrained Minimization Problem, 1997 (the safeguard).
    """
    _checks.require("initial_step_size", initial_step_size, "(0, inf)")
    _checks.require("min_step_size", min_step_size, "(0, inf)")
    _checks.require("max_step_size", max_step_size, "(0, inf)")

    def init(params: Any) -> BarzilaiBorweinMemory:
        zeros = jax.tree.map(jnp.zeros_like, params)
        first = jnp.asarray(initial_step_size, _tree.scalar_dtype(params))
        return BarzilaiBorweinMemory(zeros, zeros, first)

    def propose(memory: BarzilaiBorweinMemory, origin: Origin) -> jax.Array:
        dtype = origin.value.dtype
        change = jax.tree.map(jnp.subtract, origin.params, memory.last_params)
        bend = jax.tree.map(jnp.subtract, origin.grad, memory.last_grad)
        curvature = _tree.inner(change, bend, dtype)
        # All-zero memories are the first step: there is no secant yet.
        secant = (_tree.sqnorm(memory.last_grad, dtype) > 0) & (curvature > 0)
        ratio = _tree.sqnorm(change, dtype) / jnp.where(secant, curvature, 1)
        step_size = jnp.where(secant, ratio, memory.last_step)
        return jnp.clip(step_size, min_step_size, max_step_size)

    def commit(
        memory: BarzilaiBorweinMemory, origin: Origin, outcome: Outcome
    ) -> BarzilaiBorweinMemory:
        step_size = jnp.where(
            outcome.accepted, outcome.trial.step_size, memory.last_step
        )
        return BarzilaiBorweinMemory(origin.params, origin.grad, step_size)

    return InitialStep(init, propose, commit, uses=("grad",))


def capped(rule: InitialStep, max_step_size: float) -> InitialStep:
    r"""Another rule's proposal, at most ``max_step_size``.

    Args:
      rule: the initial step to cap.
      max_step_size: > 0.

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
    _checks.require("max_step_size", max_step_size, "(0, inf]")

    def propose(memory: Memory, origin: Origin) -> jax.Array:
        return jnp.minimum(rule.propose(memory, origin), max_step_size)

    return rule._replace(propose=propose)
