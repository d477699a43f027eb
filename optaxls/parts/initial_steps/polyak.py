"""Polyak step sizes as initial steps: plain, with a memory, smoothed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import shortest
from optaxls.parts.initial_steps._polyak_ratio import polyak_ratio
from optaxls.parts.initial_steps._resume import COLLAPSE, resume, start
from optaxls.parts.types import InitialStep, Memory, Origin, Outcome


def _check_polyak(
    polyak_c: Any, min_step_size: Any, max_step_size: Any, eps: Any, lower_bound: Any
) -> None:
    checks.require("polyak_c", polyak_c, "(0, inf)")
    checks.require("min_step_size", min_step_size, "[0, inf)")
    checks.require("max_step_size", max_step_size, "(0, inf]")
    checks.require("eps", eps, "[0, inf)")
    checks.require("lower_bound", lower_bound, "(-inf, inf)")


def _clipped(step_size: Any, ratio: Any, low: Any, high: Any) -> jax.Array:
    """``step_size`` within its bounds; 0 where a loss at its bound gives no ratio."""
    return jnp.where(ratio > 0, jnp.clip(step_size, low, high), 0)


def polyak(
    polyak_c: float = 0.5,
    lower_bound: float = 0.0,
    min_step_size: float = 0.0,
    max_step_size: float = float("inf"),
    memory: float | None = None,
    eps: float = 1e-8,
) -> InitialStep:
    r"""The Polyak step size on the mini-batch.

    .. math::
      \eta = \operatorname{clip}\Big(\delta^{l}\,
      \frac{\max(f - f^*, 0)}{c_p\,(-\langle g, d\rangle) + \epsilon},\
      \eta_{\min}, \eta_{\max}\Big)

    with :math:`f^*` (``lower_bound``), :math:`c_p` (``polyak_c``); along :math:`d=-g`
    the denominator is :math:`c_p\|g\|^2`. With a ``memory`` :math:`\delta` the power
    counts past backtracks: :math:`l \leftarrow \max(l + e - 1, 0)` after a search
    with :math:`e` of them, so that the next search starts where this one ended.

    Args:
      polyak_c: dimensionless, > 0; 0.5 in the convex theory, 0.1 in PoNoS.
      lower_bound: of the mini-batch loss, loss units. 0 suits losses that cannot be
        negative; ``update(..., lower_bound=...)`` overrules it for one batch.
      min_step_size: >= 0, and ``max_step_size``: > 0: clipped after the power.
      memory: delta in (0, 1), the search's decrease factor; None for no memory.
      eps: >= 0, units of the denominator.

    Returns:
      An initial step. Where the loss is at its bound or below, it proposes 0 whatever
      ``min_step_size``: no move, and ``accepted`` is False.

    State:
      With ``memory``: ``level``, the power l, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing: no evaluation beyond the value and gradient at hand.

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
        return start(0.0, trees.scalar_dtype(params))

    def propose(past: Memory, origin: Origin) -> jax.Array:
        ratio = polyak_ratio(origin, polyak_c, lower_bound, eps)
        step_size = ratio if memory is None else ratio * memory**past.level
        return _clipped(step_size, ratio, min_step_size, max_step_size)

    def commit(past: Memory, origin: Origin, outcome: Outcome) -> Memory:
        del origin
        if memory is None:
            return past
        # e backtracks are e + 1 trials; without a search nothing is learned.
        # The cap keeps delta**l from underflowing to 0, from which nothing grows.
        most = jnp.floor(jnp.log(shortest(past.level.dtype)) / jnp.log(memory))
        power = jnp.clip(past.level + outcome.num_trials - 2, 0, most)
        level = jnp.where(outcome.num_trials > 0, power, past.level)
        collapsed = memory ** (level - past.level) < COLLAPSE
        return resume(past, outcome, level, collapsed)

    return InitialStep(init, propose, commit)


class SmoothedPolyakMemory(NamedTuple):
    """The last step size that moved the params, and whether the one before was near.

    Without that a batch whose loss exploded would cost the epochs that it takes to grow
    back.
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
    r"""The Polyak step size, which may not grow faster than ``growth`` per epoch.

    :math:`\min(\eta^{\text{Polyak}}_k,\ \gamma^{1/N}\eta_{k-1})`, see ``polyak`` and
    ``grow``. A step a hundred times shorter than the last becomes
    :math:`\eta_{k-1}` only if the next batch confirms it.

    Args:
      polyak_c: as in ``polyak``; 0.2 in the paper's network experiments.
      lower_bound: as in ``polyak``.
      initial_step_size: > 0, may be inf (then the first step has no cap).
      growth: dimensionless, >= 1, per epoch.
      steps_per_epoch: updates per epoch, > 0.
      min_step_size: as in ``polyak``.
      max_step_size: as in ``polyak``.
      eps: as in ``polyak``.

    Returns:
      An initial step. A batch without a usable gradient leaves the cap as it was; the
      authors' code stores 0 there and never moves again.

    State:
      ``last_step``, scalar; ``trusted``: False while a step a hundred times shorter
      than the one before waits for the next batch to confirm it.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing.

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
