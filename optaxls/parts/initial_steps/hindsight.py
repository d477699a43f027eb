"""An initial step that learns from the next batch whether past steps were too long."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import FAR_BELOW, at_most_tenfold
from optaxls.parts.types import InitialStep, Origin, Outcome


class HindsightMemory(NamedTuple):
    """What ``hindsight`` remembers: a mean of the params, averages and step sizes.

    ``mean_params``: the mean of the params at all steps so far, the j-th with weight j.
    ``offset_slope``: the inner product of the last batch's gradient and the offset of
    the params from that mean, in loss units. ``mean_slope``, ``mean_abs_slope``: its
    running mean, and that of its absolute value.

    ``mean_abs_value``: the typical absolute value of the loss. ``mean_steepness``: the
    typical slope along the direction, in loss units per unit of distance.
    ``mean_decrease``: the decrease of the loss that steps typically promised, before
    ``hindsight`` shortened any of them.

    ``hindsight_step``: the step size that the next correction starts from.
    ``recent_step``: the longest step size taken lately. ``num_averaged``: the number of
    iterates in ``mean_params``.
    """

    mean_params: Any
    offset_slope: jax.Array
    mean_slope: jax.Array
    mean_abs_slope: jax.Array
    mean_abs_value: jax.Array
    mean_steepness: jax.Array
    mean_decrease: jax.Array
    hindsight_step: jax.Array
    recent_step: jax.Array
    num_averaged: jax.Array


class _Observed(NamedTuple):
    """The memory before and after a new batch, and the corrected step size."""

    before: HindsightMemory
    after: HindsightMemory
    step_size: jax.Array


def _weight(memory: HindsightMemory, dtype: Any) -> jax.Array:
    """The weight of the newest iterate in the mean of k iterates: 2 / (k + 1).

    So the j-th iterate has a weight in proportion to j. Half of the total weight lies
    on the last three tenths of a run. The mean forgets the start of the run, and still
    averages over more and more iterates.
    """
    return 2 / (jnp.maximum(memory.num_averaged, 1).astype(dtype) + 1)


def _mean_with(memory: HindsightMemory, params: Any) -> Any:
    """The mean of the iterates with ``params`` included; integer leaves do not change.

    Before the first step the mean is the params at ``init``. The first two iterates
    have a weight of one, so that each replaces the mean. The params are read when
    the next step starts. So they include what transformations chained after this one
    added to the update. The mean is in float32 at least, since near the end of a run a
    bfloat16 mean would not move.
    """
    weight = _weight(memory, memory.mean_slope.dtype)

    def leaf(mean, w):
        if not trees.is_inexact(w):
            return mean
        # ``_offset_slope`` computes w - mean. This computes mean - w, so that XLA does
        # not share the two, which would keep one more copy of the params alive.
        return mean - weight.astype(jnp.real(mean).dtype) * (mean - w)

    return jax.tree.map(leaf, memory.mean_params, params)


def _offset_slope(memory: HindsightMemory, origin: Origin) -> jax.Array:
    """The slope ``<g, w - mean>`` in loss units, with a mean that includes w.

    That mean is not formed, which saves a copy of the params: its offset from w is
    that of the mean before, times 1 less the weight of w.
    """
    dtype = memory.mean_slope.dtype
    offset = trees.difference(origin.params, memory.mean_params)
    return (1 - _weight(memory, dtype)) * trees.inner(origin.grad, offset, dtype)


def _steepness(origin: Origin) -> jax.Array:
    """The absolute slope along the direction, in loss units per unit of distance."""
    length = jnp.sqrt(origin.direction_sqnorm)
    return jnp.abs(origin.slope) / jnp.where(length > 0, length, 1)


def _updated(memory: HindsightMemory, origin: Origin, decay: Any) -> HindsightMemory:
    """The memory with a new batch in its averages; the step sizes do not change."""
    offset_slope = _offset_slope(memory, origin)
    # The divisor corrects for an average that started from 0.
    num_slopes = (memory.num_averaged - 1).astype(offset_slope.dtype)
    typical = memory.mean_abs_slope / jnp.maximum(1 - decay**num_slopes, 1 - decay)
    # The first slope has no earlier one to be compared with. The decrease that the
    # steps so far promised takes its place: both are differences of losses.
    typical = jnp.where(num_slopes > 1, typical, memory.mean_decrease)
    slope = at_most_tenfold(offset_slope, typical)
    value, steepness = jnp.abs(origin.value), _steepness(origin)

    def mean(old: jax.Array, number: jax.Array) -> jax.Array:
        return decay * old + (1 - decay) * at_most_tenfold(number, old)

    new = memory._replace(
        offset_slope=offset_slope,
        mean_slope=decay * memory.mean_slope + (1 - decay) * slope,
        mean_abs_slope=decay * memory.mean_abs_slope + (1 - decay) * jnp.abs(slope),
        mean_abs_value=mean(memory.mean_abs_value, value),
        mean_steepness=mean(memory.mean_steepness, steepness),
    )
    first = memory._replace(mean_abs_value=value, mean_steepness=steepness)
    return trees.select(memory.num_averaged > 0, new, first)


def _corrected(
    memory: HindsightMemory, updated: HindsightMemory, rate: Any, tolerance: Any
):
    """The step size in ``memory``, made longer or shorter by the averaged slopes.

    ``updated`` is the memory with the new batch. A ratio of its slopes above
    ``tolerance`` shortens the step size, one below it lengthens the step size.
    """
    any_slope = updated.mean_abs_slope > 0
    ratio = updated.mean_slope / jnp.where(any_slope, updated.mean_abs_slope, 1)
    # After two steps there is an offset. If the slope along it is exactly 0, the steps
    # are so short that rounding undoes them: they grow at the full rate.
    unmoved = jnp.where(memory.num_averaged > 1, 1, 0)
    excess = jnp.where(any_slope, jnp.clip(tolerance - ratio, -1, 1), unmoved)
    gain = rate / (memory.num_averaged + 10).astype(excess.dtype)
    return memory.hindsight_step * jnp.exp(gain * excess)


def _decrease_rate(updated: HindsightMemory, origin: Origin) -> jax.Array:
    """The decrease of the loss that a step promises, per unit of step size.

    A batch that the model fits has a slope near 0, so its own slope would allow any
    step size. Where the length of the direction does not shrink with the gradient, as
    with its sign, such a step harms the other batches. So the slope counts as no less
    than the typical one.
    """
    typical = updated.mean_steepness * jnp.sqrt(origin.direction_sqnorm)
    typical = jnp.where(jnp.isfinite(typical), typical, 0)
    return jnp.maximum(-origin.slope, typical)


def _shortened(
    step_size: jax.Array, updated: HindsightMemory, origin: Origin
) -> jax.Array:
    """The step size, or the longest that promises no more decrease than the loss.

    A hundredth of the typical loss is always allowed. With the limit of the present
    loss alone, the steps would shrink to 0 as the loss approaches 0, and no loss could
    become negative.

    The limit does not apply if the typical loss is less than a hundredth of the
    typical promised decrease. Such a loss has an arbitrary zero, for example its value
    where the step starts, and its size says nothing about the step.
    """
    most = jnp.maximum(jnp.abs(origin.value), updated.mean_abs_value / 100)
    rate = _decrease_rate(updated, origin)
    # The comparison is with a quotient, since step size times rate may overflow.
    longest = most / jnp.where(rate > 0, rate, 1)
    has_scale = 100 * updated.mean_abs_value > updated.mean_decrease
    limits = (updated.num_averaged > 0) & has_scale & (rate > 0)
    return jnp.where(limits, jnp.minimum(step_size, longest), step_size)


def _mean_decrease(
    memory: HindsightMemory, promised: jax.Array, decay: Any
) -> jax.Array:
    """The typical promised decrease, averaged with that of one more step.

    The new one counts as at most ten times the old average.
    """
    old = memory.mean_decrease
    # A promise that overflowed is left out: it would make the average infinite.
    promised = jnp.where(jnp.isfinite(promised), promised, old)
    mean = decay * old + (1 - decay) * at_most_tenfold(promised, old)
    return jnp.where(old > 0, mean, promised)


def _wide(params: Any) -> Any:
    """The params in float32 or wider; integer leaves keep their dtype."""

    def leaf(w):
        if not trees.is_inexact(w):
            return jnp.asarray(w)
        return jnp.asarray(w, jnp.promote_types(jnp.result_type(w), jnp.float32))

    return jax.tree.map(leaf, params)


def hindsight(
    rate: float = 2.0,
    tolerance: float = 0.4,
    decay: float = 0.9,
    initial_step_size: float = 1.0,
) -> InitialStep:
    r"""Adjusts the step size by a new batch's slope along the past steps.

    .. math::
      h = \langle g, w - \bar w\rangle,\quad
      S \leftarrow \beta S + (1-\beta) h,\quad
      A \leftarrow \beta A + (1-\beta)|h|,\quad
      \eta \leftarrow \eta \exp\frac{\rho\operatorname{clip}(\tau - S/A, -1, 1)}{k+10}

    with :math:`\bar w` the mean of the iterates, the j-th with weight j, :math:`\rho`
    (``rate``), :math:`\tau` (``tolerance``), :math:`\beta` (``decay``), :math:`k` steps
    made. Here h is the slope of a fresh batch along an offset that it had no part in.
    If the loss still falls along it, the steps were too short. If it rises, they
    were too long. The offset spans more steps as k grows, which a test on the same
    batch cannot do. The ratio S / A does not depend on the scale of the loss. The
    corrections shrink like 1 / k, so that the step size settles.

    The slope shows a step that is too long only one step later. So no step is proposed
    that promises more decrease than the loss is large:
    :math:`\eta \max(-\langle g, d\rangle, R\|d\|) \le \max(|f|, V/100)`. V is the
    mean of the batches' :math:`|f|`, R that of
    :math:`|\langle g, d\rangle| / \|d\|`, the typical slope per unit of distance.

    Only this limit depends on the offset of the loss. It is made for losses that cannot
    be negative. Near a loss of 0 the limit is the Polyak step size; there one long
    step can leave the units of a ReLU network inactive for good. A batch that the model
    fits gets a short step, however long its direction. A loss far above or below 0 is
    not limited. Nor is one with :math:`V \le D/100`, where D is the decrease that steps
    typically promise: the zero of such a loss is arbitrary.

    The limit applies to one batch only. The remembered step size is at most twice the
    longest one taken lately, over 10 steps or so (by ``decay``). A loss of exactly 0
    does not shorten it. If the slopes are all exactly 0, the steps are too short to
    move the params, and the step size grows.

    Args:
      rate: size of the corrections, dimensionless, > 0.
      tolerance: the ratio S / A aimed at, dimensionless, in [-1, 1]. The default lets
        steps overshoot a little, since the mean lies behind the present params.
      decay: weight of the past in S and A, in [0, 1).
      initial_step_size: > 0, for the first step; ``bracketing`` behind the gate
        ``first(1)`` finds a better one.

    Returns:
      An initial step. After a search the next correction starts from the step size that
      the search ended with, also if it failed. A failed search that shrank the step by
      twelve decades is ignored.

    State:
      ``hindsight_step``, ``offset_slope`` (h), ``mean_slope``, ``mean_abs_slope``,
      ``mean_abs_value`` (V), ``mean_steepness`` (R), ``mean_decrease`` (D),
      ``recent_step``, scalars; ``mean_params``, like params, float32 or wider;
      ``num_averaged``, int32. A batch that is not finite changes none of them.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation; one copy of the params and one inner product.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e-3))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(100):               # f = w^2 / 2: far too short, so it grows
      ...     updates, state = tx.update(-w, state, w, value=w[0]**2 / 2, grad=w)
      ...     w = w + updates
      >>> bool(0.01 < state.step_size)
      True

    Reference:
      No publication; defined here. It applies the Wolfe curvature condition (Nocedal
      and Wright 2006, equation 3.6b) one step later.
    """
    checks.require("rate", rate, "(0, inf)")
    checks.require("tolerance", tolerance, "[-1, 1]")
    checks.require("decay", decay, "[0, 1)")
    checks.require("initial_step_size", initial_step_size, "(0, inf)")

    def init(params: Any) -> HindsightMemory:
        zero = jnp.zeros((), trees.scalar_dtype(params))
        first = jnp.asarray(initial_step_size, zero.dtype)
        none = jnp.zeros((), jnp.int32)
        return HindsightMemory(
            _wide(params), zero, zero, zero, zero, zero, zero, first, zero, none
        )

    def observe(memory: HindsightMemory, origin: Origin) -> _Observed:
        after = _updated(memory, origin, decay)
        return _Observed(memory, after, _corrected(memory, after, rate, tolerance))

    def propose(observed: _Observed, origin: Origin) -> jax.Array:
        return _shortened(observed.step_size, observed.after, origin)

    def commit(
        observed: _Observed, origin: Origin, outcome: Outcome
    ) -> HindsightMemory:
        before, after, corrected = observed
        applied, searched = outcome.end_step, outcome.num_trials > 0
        # The slopes tell of the steps taken. Where the limit or a cap shortened those,
        # a remembered step size that went on growing would take long to come down.
        # A loss of exactly 0 is a rounded one: its limit of 0 must not shorten it.
        fade = jnp.where(origin.value == 0, 1, decay)
        recent = jnp.maximum(applied, fade * before.recent_step)
        limited = jnp.minimum(corrected, 2 * recent)
        decrease_rate = _decrease_rate(after, origin)
        promised = jnp.where(searched, applied, corrected) * decrease_rate
        new = after._replace(
            mean_params=_mean_with(before, origin.params),
            mean_decrease=_mean_decrease(before, promised, decay),
            hindsight_step=jnp.where(searched, applied, limited),
            recent_step=recent,
            num_averaged=trees.one_more(before.num_averaged),
        )
        # Without a step the averages stay as they were. The next step starts where
        # the failed search ended, unless that lies many decades down: then the batch
        # was at fault, and it would take long to grow back.
        plausible = searched & (applied > FAR_BELOW * initial_step_size)
        step_size = jnp.where(plausible, applied, before.hindsight_step)
        unmoved = before._replace(hindsight_step=step_size)
        return trees.select(outcome.accepted, new, unmoved)

    return InitialStep(init, propose, commit, ("value", "grad"), observe)
