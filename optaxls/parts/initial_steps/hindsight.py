"""A step size judged in hindsight, by a slope on a fresh batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import FAR_BELOW, at_most_tenfold
from optaxls.parts.types import InitialStep, Origin, Outcome


class HindsightMemory(NamedTuple):
    """The mean iterate, slopes and losses so far, the step size.

    ``way_slope``: the slope of the last batch along the offset from the mean iterate.
    ``mean_abs_value``: the typical size of the loss. ``mean_steepness``: the typical
    slope along the direction, per unit of distance. ``mean_decrease``: the decrease
    that steps typically promised, before a brake. ``hindsight_step``: the step size
    that the next correction starts from. ``recent_step``: the longest taken of late.
    """

    mean_params: Any
    way_slope: jax.Array
    mean_slope: jax.Array
    mean_abs_slope: jax.Array
    mean_abs_value: jax.Array
    mean_steepness: jax.Array
    mean_decrease: jax.Array
    hindsight_step: jax.Array
    recent_step: jax.Array
    num_judged: jax.Array


class _Observed(NamedTuple):
    """The memory before and after a look back, and the step size that follows."""

    before: HindsightMemory
    after: HindsightMemory
    step_size: jax.Array


def _weight(memory: HindsightMemory, dtype: Any) -> jax.Array:
    """Of the newest iterate in the mean: 2 / (k + 1), the mean of weights 1, 2, ... k.

    Half of the weight lies on the last three tenths of a run: its start is forgotten,
    and the horizon still grows with k.
    """
    return 2 / (jnp.maximum(memory.num_judged, 1).astype(dtype) + 1)


def _mean_with(memory: HindsightMemory, params: Any) -> Any:
    """The mean iterate including ``params``; integer leaves stay as they are.

    Where none was judged yet the mean is what the params were at ``init``, and the
    first step makes it ``params``: with a weight of one, like the second.
    The params are read when the next step starts, so that whatever was chained after
    the rule is part of the way. Averaged in float32: near the end of a run a bfloat16
    mean would not move.
    """
    weight = _weight(memory, memory.mean_slope.dtype)

    def leaf(mean, w):
        if not trees.is_inexact(w):
            return mean
        # Not of w less the mean, of which the slope is taken: a difference that both
        # use would be kept, a copy of the params.
        return mean - weight.astype(jnp.real(mean).dtype) * (mean - w)

    return jax.tree.map(leaf, memory.mean_params, params)


def _slope_of_way(memory: HindsightMemory, origin: Origin) -> jax.Array:
    """``<g, w - mean>`` with the mean that includes w, without forming that mean.

    Its distance from w is that of the mean before, times 1 less the weight of w.
    """
    dtype = memory.mean_slope.dtype
    way = trees.difference(origin.params, memory.mean_params)
    return (1 - _weight(memory, dtype)) * trees.inner(origin.grad, way, dtype)


def _steepness(origin: Origin) -> jax.Array:
    length = jnp.sqrt(origin.direction_sqnorm)
    return jnp.abs(origin.slope) / jnp.where(length > 0, length, 1)


def _judged(memory: HindsightMemory, origin: Origin, decay: Any) -> HindsightMemory:
    """The memory after a look back from ``origin``, the step size not yet changed."""
    way_slope = _slope_of_way(memory, origin)
    seen = (memory.num_judged - 1).astype(way_slope.dtype)
    typical = memory.mean_abs_slope / jnp.maximum(1 - decay**seen, 1 - decay)
    # The first slope is compared with what the steps so far promised: both are
    # differences of losses.
    typical = jnp.where(seen > 1, typical, memory.mean_decrease)
    slope = at_most_tenfold(way_slope, typical)
    value, steepness = jnp.abs(origin.value), _steepness(origin)

    def mean(old: jax.Array, number: jax.Array) -> jax.Array:
        return decay * old + (1 - decay) * at_most_tenfold(number, old)

    new = memory._replace(
        way_slope=way_slope,
        mean_slope=decay * memory.mean_slope + (1 - decay) * slope,
        mean_abs_slope=decay * memory.mean_abs_slope + (1 - decay) * jnp.abs(slope),
        mean_abs_value=mean(memory.mean_abs_value, value),
        mean_steepness=mean(memory.mean_steepness, steepness),
    )
    first = memory._replace(mean_abs_value=value, mean_steepness=steepness)
    return trees.select(memory.num_judged > 0, new, first)


def _corrected(
    memory: HindsightMemory, seen: HindsightMemory, rate: Any, tolerance: Any
):
    """The step size before ``memory``, corrected by what was ``seen``."""
    known = seen.mean_abs_slope > 0
    ratio = seen.mean_slope / jnp.where(known, seen.mean_abs_slope, 1)
    # After two steps there is a way; without any slope along it they are too short to
    # move the params at all.
    unmoved = jnp.where(memory.num_judged > 1, 1, 0)
    excess = jnp.where(known, jnp.clip(tolerance - ratio, -1, 1), unmoved)
    gain = rate / (memory.num_judged + 10).astype(excess.dtype)
    return memory.hindsight_step * jnp.exp(gain * excess)


def _decrease_rate(seen: HindsightMemory, origin: Origin) -> jax.Array:
    """The decrease that a step promises, per unit of step size.

    A batch that is fitted has no slope, so that no step along its direction seems too
    long. The others pay for it: a direction such as the sign is as long as ever. So the
    typical slope counts as well.
    """
    typical = seen.mean_steepness * jnp.sqrt(origin.direction_sqnorm)
    typical = jnp.where(jnp.isfinite(typical), typical, 0)
    return jnp.maximum(-origin.slope, typical)


def _brake(step_size: jax.Array, seen: HindsightMemory, origin: Origin) -> jax.Array:
    """A step size that promises no more decrease than the loss is large.

    A hundredth of the typical loss is always allowed, so that a loss may become
    negative: the loss of one batch alone would hold it back at 0 for good.

    Losses a hundred times smaller than what steps typically promise are measured from
    elsewhere, such as from where the step starts. They brake nothing.
    """
    most = jnp.maximum(jnp.abs(origin.value), seen.mean_abs_value / 100)
    rate = _decrease_rate(seen, origin)
    # A quotient, not a product that may overflow.
    longest = most / jnp.where(rate > 0, rate, 1)
    measures = 100 * seen.mean_abs_value > seen.mean_decrease
    brakes = (seen.num_judged > 0) & measures & (rate > 0)
    return jnp.where(brakes, jnp.minimum(step_size, longest), step_size)


def _mean_decrease(
    memory: HindsightMemory, promised: jax.Array, decay: Any
) -> jax.Array:
    """The typical promise, with that of one more step: at most tenfold."""
    old = memory.mean_decrease
    # One that overflowed says nothing.
    promised = jnp.where(jnp.isfinite(promised), promised, old)
    mean = decay * old + (1 - decay) * at_most_tenfold(promised, old)
    return jnp.where(old > 0, mean, promised)


def _wide(params: Any) -> Any:
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
    r"""The last step size, corrected by what the way come so far looks like from here.

    .. math::
      h = \langle g, w - \bar w\rangle,\quad
      S \leftarrow \beta S + (1-\beta) h,\quad
      A \leftarrow \beta A + (1-\beta)|h|,\quad
      \eta \leftarrow \eta \exp\frac{\rho\operatorname{clip}(\tau - S/A, -1, 1)}{k+10}

    with :math:`\bar w` the mean of the iterates, the j-th with weight j, :math:`\rho`
    (``rate``), :math:`\tau` (``tolerance``), :math:`\beta` (``decay``), :math:`k` steps
    made. A fresh batch's slope at the end of a displacement that it had no part in:
    still going down, the steps were too short; climbing, too long. The horizon grows
    with k, which a test on the same batch cannot do; S / A is free of scale; the gain
    settles like 1 / k.

    The test sees a step that is too long one step late. So none is proposed that
    promises more decrease than the loss is large:
    :math:`\eta \max(-\langle g, d\rangle, R\|d\|) \le \max(|f|, V/100)`. V is the
    mean of the batches' :math:`|f|`, R that of
    :math:`|\langle g, d\rangle| / \|d\|`, the typical slope per unit of distance.

    This brake is the one place where the loss's offset counts. It is made for losses
    that cannot be negative: near 0 it gives the Polyak step, where a network of ReLUs
    would die of one long step. A batch that is fitted already makes but a short step,
    however long its direction. A loss far from 0, above or below, is not braked. Nor is
    one with :math:`V \le D/100`, where D is the decrease that steps typically promise:
    such losses are measured from elsewhere, often from where the step starts.

    A brake holds for one batch. What is remembered is at most twice the longest step
    of late (10 steps or so, by ``decay``). A loss of exactly 0 shortens nothing that
    is remembered. Steps along which no slope is ever seen are too short to move the
    params, and grow.

    Args:
      rate: dimensionless, > 0.
      tolerance: the S / A aimed at, in [-1, 1]; some overshoot by default, since the
        mean lies behind.
      decay: weight of the past in S and A, in [0, 1).
      initial_step_size: > 0, for the first step; ``bracketing`` behind the gate
        ``first(1)`` finds a better one.

    Returns:
      An initial step. After a search it goes on from the step size found, after one
      that failed from where that stopped, unless it shrank by twelve decades.

    State:
      ``hindsight_step``, ``way_slope`` (h), ``mean_slope``, ``mean_abs_slope``,
      ``mean_abs_value`` (V), ``mean_steepness`` (R), ``mean_decrease`` (D),
      ``recent_step``, scalars; ``mean_params``, like params, float32 or wider;
      ``num_judged``, int32. A batch that is not finite leaves all of them.

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
      Ours; a Wolfe curvature condition (Nocedal and Wright 2006, equation 3.6b),
      applied one step later.
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
        after = _judged(memory, origin, decay)
        return _Observed(memory, after, _corrected(memory, after, rate, tolerance))

    def propose(observed: _Observed, origin: Origin) -> jax.Array:
        return _brake(observed.step_size, observed.after, origin)

    def commit(
        observed: _Observed, origin: Origin, outcome: Outcome
    ) -> HindsightMemory:
        memory, seen, judged = observed
        applied, searched = outcome.end_step, outcome.num_trials > 0
        # What is judged are the steps taken: one much longer than those, because brakes
        # or a cap held it back, would take long to come down to where it matters.
        # A loss of exactly 0 is a rounded one, whose brake says nothing of the steps.
        kept_share = jnp.where(origin.value == 0, 1, decay)
        recent = jnp.maximum(applied, kept_share * memory.recent_step)
        kept = jnp.minimum(judged, 2 * recent)
        promised = jnp.where(searched, applied, judged) * _decrease_rate(seen, origin)
        new = seen._replace(
            mean_params=_mean_with(memory, origin.params),
            mean_decrease=_mean_decrease(memory, promised, decay),
            hindsight_step=jnp.where(searched, applied, kept),
            recent_step=recent,
            num_judged=trees.one_more(memory.num_judged),
        )
        # Where nothing moved there was nothing to judge. A search that failed is gone
        # on with, but not one over many decades: that was the batch's fault.
        stands = searched & (applied > FAR_BELOW * initial_step_size)
        step_size = jnp.where(stands, applied, memory.hindsight_step)
        held = memory._replace(hindsight_step=step_size)
        return trees.select(outcome.accepted, new, held)

    return InitialStep(init, propose, commit, ("value", "grad"), observe)
