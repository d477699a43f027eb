"""Initial steps from the Polyak step size: plain, with a memory, or smoothed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import shortest
from optaxls.parts.initial_steps._polyak_ratio import polyak_ratio
from optaxls.parts.initial_steps._resume import COLLAPSE, new_memory, resume
from optaxls.parts.types import InitialStep, Memory, Origin, Outcome


def _check_polyak(
    polyak_c: Any, min_step_size: Any, max_step_size: Any, eps: Any, lower_bound: Any
) -> None:
    """Raises a ``ValueError`` if an argument that both share is out of its range."""
    checks.require("polyak_c", polyak_c, "(0, inf)")
    checks.require("min_step_size", min_step_size, "[0, inf)")
    checks.require("max_step_size", max_step_size, "(0, inf]")
    checks.require("eps", eps, "[0, inf)")
    checks.require("lower_bound", lower_bound, "(-inf, inf)")


def _clipped(step_size: Any, ratio: Any, low: Any, high: Any) -> jax.Array:
    """``step_size`` clipped to its bounds, but 0 if the Polyak ratio is 0."""
    return jnp.where(ratio > 0, jnp.clip(step_size, low, high), 0)


def polyak(
    polyak_c: float = 0.5,
    lower_bound: float = 0.0,
    min_step_size: float = 0.0,
    max_step_size: float = float("inf"),
    memory: float | None = None,
    eps: float = 1e-8,
) -> InitialStep:
    r"""Starts every search from the Polyak step size of the mini-batch.

    .. math::
      \eta = \operatorname{clip}\Big(\delta^{l}\,
      \frac{\max(f - f^*, 0)}{c_p\,(-\langle g, d\rangle) + \epsilon},\
      \eta_{\min}, \eta_{\max}\Big)

    with :math:`f^*` (``lower_bound``) and :math:`c_p` (``polyak_c``). Along
    :math:`d=-g` the denominator is :math:`c_p\|g\|^2`. With a ``memory``
    :math:`\delta` the power counts past backtracks. After a search with :math:`e` of
    them, :math:`l \leftarrow \max(l + e - 1, 0)`, so that the next search starts one
    backtrack above where this one ended.

    Args:
      polyak_c: dimensionless, > 0; 0.5 in the convex theory, 0.1 in PoNoS.
      lower_bound: lower bound of the mini-batch loss, in loss units. 0 suits losses
        that cannot be negative; ``update(..., lower_bound=...)`` replaces it for one
        batch.
      min_step_size: the shortest proposal, >= 0; applied after the power.
      max_step_size: the longest proposal, > 0; applied after the power.
      memory: delta in (0, 1), the search's decrease factor; None for no memory.
      eps: added to the denominator, in its units, >= 0.

    Returns:
      An initial step. If the loss is at its lower bound or below, the proposal is 0
      even with a ``min_step_size``: the params do not move and ``accepted`` is False.

    State:
      With ``memory``: ``start``, the power l, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation beyond the value and gradient at hand.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.polyak(0.5, eps=0.0))
      >>> w = jnp.array([2.0])      # f = w^2 / 2: the Polyak step is 1 / (2 c L)
      >>> updates, state = tx.update(-w, tx.init(w), w, value=jnp.array(2.0), grad=w)
      >>> print(optax.apply_updates(w, updates), state.step_size)
      [0.] 1.0

    Reference:
      Loizou et al. 2021, arXiv:2002.10542, equation 2; Galli, Rauhut, Schmidt 2023,
      arXiv:2306.12747, for the memory.
    """
    _check_polyak(polyak_c, min_step_size, max_step_size, eps, lower_bound)
    if memory is not None:
        checks.require("memory", memory, "(0, 1)")

    def init(params: Any) -> Memory:
        if memory is None:
            return ()
        return new_memory(0.0, trees.scalar_dtype(params))

    def propose(past: Memory, origin: Origin) -> jax.Array:
        ratio = polyak_ratio(origin, polyak_c, lower_bound, eps)
        step_size = ratio if memory is None else ratio * memory**past.start
        return _clipped(step_size, ratio, min_step_size, max_step_size)

    def commit(past: Memory, origin: Origin, outcome: Outcome) -> Memory:
        del origin
        if memory is None:
            return past
        # e backtracks are e + 1 trials. Without a search the power stays as it was.
        # The cap keeps delta**l from underflowing to 0, from which nothing grows.
        most = jnp.floor(jnp.log(shortest(past.start.dtype)) / jnp.log(memory))
        power = jnp.clip(past.start + outcome.num_trials - 2, 0, most)
        start = jnp.where(outcome.num_trials > 0, power, past.start)
        collapsed = memory ** (start - past.start) < COLLAPSE
        return resume(past, outcome, start, collapsed)

    return InitialStep(init, propose, commit)


class SmoothedPolyakMemory(NamedTuple):
    """The last step size that moved the params, and whether it was no collapse.

    ``trusted`` is False if the step just made was far shorter than ``last_step``. The
    cap follows such a step only if the next one is as short. Otherwise one batch whose
    loss exploded would cost as many epochs as the cap takes to grow back.
    """

    last_step: jax.Array
    trusted: jax.Array


def smoothed_polyak(
    polyak_c: float = 0.5,
    lower_bound: float = 0.0,
    initial_step_size: float = 1.0,
    growth: float = 2.0,
    steps_per_epoch: float = 1.0,
    min_step_size: float = 0.0,
    max_step_size: float = float("inf"),
    eps: float = 1e-8,
) -> InitialStep:
    r"""Starts every search from the Polyak step size, limited in how fast it grows.

    It grows by a factor of at most :math:`\gamma` (``growth``) per epoch of
    :math:`N` (``steps_per_epoch``) steps. The proposal is
    :math:`\min(\eta^{\text{Polyak}}_k,\ \gamma^{1/N}\eta_{k-1})`, with
    :math:`\eta^{\text{Polyak}}` that of ``polyak``. A step a hundred times
    shorter than the last becomes :math:`\eta_{k-1}` only if the next batch confirms it.

    Args:
      polyak_c: divides the step size, dimensionless, > 0; 0.5 in the convex theory, 0.2
        in the paper's network experiments.
      lower_bound: lower bound of the mini-batch loss, in loss units.
      initial_step_size: the step size that the first cap grows from, > 0; inf for no
        cap on the first step.
      growth: largest factor of growth per epoch, dimensionless, >= 1.
      steps_per_epoch: updates per epoch, > 0.
      min_step_size: the shortest proposal, >= 0, except that a loss at its lower bound
        makes no step.
      max_step_size: the longest proposal, > 0.
      eps: added to the denominator of the Polyak step size, in its units, >= 0.

    Returns:
      An initial step. A batch without a usable gradient leaves the cap as it was. The
      authors' code stores 0 then and never moves again.

    State:
      ``last_step``, scalar; ``trusted``: False while a step a hundred times shorter
      than the one before waits for the next batch to confirm it.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_initial_step(
      ...     optaxls.smoothed_polyak(0.5, initial_step_size=0.25, growth=2.0))
      >>> w = jnp.array([2.0])
      >>> _, state = tx.update(-w, tx.init(w), w, value=jnp.array(2.0), grad=w)
      >>> print(state.step_size)
      0.5

    Reference:
      Loizou et al. 2021, arXiv:2002.10542, section 4 (smoothing).
    """
    _check_polyak(polyak_c, min_step_size, max_step_size, eps, lower_bound)
    checks.require("initial_step_size", initial_step_size, "(0, inf]")
    checks.require("growth", growth, "[1, inf)")
    checks.require("steps_per_epoch", steps_per_epoch, "(0, inf)")

    def init(params: Any) -> SmoothedPolyakMemory:
        dtype = trees.scalar_dtype(params)
        first = jnp.asarray(initial_step_size, dtype)
        return SmoothedPolyakMemory(first, jnp.zeros((), bool))

    def propose(memory: SmoothedPolyakMemory, origin: Origin) -> jax.Array:
        ratio = polyak_ratio(origin, polyak_c, lower_bound, eps)
        cap = memory.last_step * growth ** (1 / steps_per_epoch)
        step_size = jnp.minimum(ratio, cap)
        return _clipped(step_size, ratio, min_step_size, max_step_size)

    def commit(
        memory: SmoothedPolyakMemory, origin: Origin, outcome: Outcome
    ) -> SmoothedPolyakMemory:
        del origin
        step_size = outcome.end_step
        moved = outcome.accepted & (step_size > 0)
        collapsed = step_size < COLLAPSE * memory.last_step
        doubted = moved & memory.trusted & collapsed
        last_step = jnp.where(moved & ~doubted, step_size, memory.last_step)
        return SmoothedPolyakMemory(
            last_step, jnp.where(moved, ~doubted, memory.trusted)
        )

    return InitialStep(init, propose, commit)
