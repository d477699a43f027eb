"""An initial step that learns from the next batch whether past steps were too long."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import FAR_BELOW, at_most_tenfold
from optaxls.parts.initial_steps._hindsight_memory import (
    HindsightMemory,
    larger_climb,
    mean_with,
    new_memory,
    with_climb,
    with_value,
)
from optaxls.parts.types import InitialStep, Origin, Outcome

# The first step has this length, as a share of the length of the params that it moves.
# For networks as they are initialised, Adam's step size is then about 0.01.
_RELATIVE_LENGTH = 0.06
# Where these params are all 0: the root mean square of the coordinates of the step.
_FROM_ZERO = 1e-3
# The fastest growth of the first step size, as a change of its logarithm.
_FAST = 0.2
# Where the climb is below minus this, most coordinates of all batches agree. Growth is
# fastest where it is below by so much more.
_AGREED, _NEARLY = 0.6, 0.2
# Once the loss has fallen by so many of its typical changes, growth is slow. So it is
# then for steps that a cap held back.
_FALLEN = 30
# A step promises at most so many times the typical change of the loss between batches.
_MOST_CHANGES = 4


class _Observed(NamedTuple):
    """The memory before and after a new batch, and the corrected step size."""

    before: HindsightMemory
    after: HindsightMemory
    step_size: jax.Array


def _correction(memory: HindsightMemory, rate: Any, tolerance: Any) -> jax.Array:
    """The change of the logarithm of the step size, from the climb in ``memory``.

    Between a quarter of the tolerance and the tolerance the step size stays as it is.
    Beyond three tolerances it is far too long, and shrinks four times as fast.
    """
    climb, climbed = larger_climb(memory, tolerance), memory.climbed
    count = memory.num_steps.astype(climb.dtype)

    def share(excess):
        return jnp.clip(excess / tolerance, 0, 1)

    slow = rate / (count + 10)
    # Until the first climb the step size may be many decades too short. Batches agree
    # for ever where a network has fitted them all: there fast growth would not end.
    fallen = memory.early_value - memory.mean_value > _FALLEN * memory.mean_change
    agreed = jnp.clip((-climb - _AGREED) / _NEARLY, 0, 1)
    fast = jnp.where(climbed | fallen, slow, _FAST) * agreed
    up = jnp.maximum(slow * share(tolerance / 4 - climb), fast)
    down = 2 * slow * (share(climb - tolerance) + 3 * share(climb - 3 * tolerance))
    return up - down


def _first_step(direction: Any, params: Any, dtype: Any) -> jax.Array:
    """The step size of the first step, from the length of the params that it moves."""
    # Under the branch of the first step, so the lengths cost later steps nothing.
    length, unit, ones = trees.moved_lengths(direction, params, dtype)
    wanted = jnp.where(length > 0, _RELATIVE_LENGTH * length, _FROM_ZERO * ones)
    return wanted / jnp.where(unit > 0, unit, 1)


def _within_length(
    step_size: jax.Array, updated: HindsightMemory, origin: Origin, share: float | None
) -> jax.Array:
    """The step size, or the one of the share of the params that the climb allows."""
    if share is None:
        return step_size
    dtype = step_size.dtype
    length, unit, ones = trees.moved_lengths(origin.direction, origin.params, dtype)
    # Where all batches agree that the steps are too short, nothing limits them, nor
    # along this batch's own gradient.
    steepest = jnp.sqrt(origin.grad_sqnorm) * unit
    aligned = -origin.slope / jnp.where(steepest > 0, steepest, 1)
    disagreement = jnp.maximum((1 + updated.climb) * (1 - aligned), 0)
    longest = jnp.maximum(share * length, _FROM_ZERO * ones)
    # The comparison is with a product, since the quotient may be 0 / 0.
    taken = step_size * unit * disagreement
    limit = step_size * longest / jnp.where(taken > longest, taken, 1)
    # The first step has a length of its own.
    return jnp.where((taken > longest) & (updated.num_steps > 0), limit, step_size)


def _shortened(
    step_size: jax.Array, updated: HindsightMemory, origin: Origin, change: jax.Array
) -> jax.Array:
    """The step size, or the longest whose promised decrease is plausible.

    That is ``_MOST_CHANGES`` times the last change of the loss or its typical one. The
    rounding of the loss is always allowed, since smaller changes cannot be seen.
    """
    seen = at_most_tenfold(change, updated.mean_change)
    seen = jnp.maximum(jnp.maximum(seen, updated.mean_change), origin.value_rounding)
    descends = origin.slope < 0
    # The comparison is with a quotient, since step size times slope may overflow.
    longest = _MOST_CHANGES * seen / jnp.where(descends, -origin.slope, 1)
    # Where no change was ever seen, the loss does not tell what is plausible.
    limits = (updated.mean_change > 0) & descends
    return jnp.where(limits, jnp.minimum(step_size, longest), step_size)


def _looked_back(
    memory: HindsightMemory, origin: Origin, rate: Any, tolerance: Any, decay: Any
) -> tuple[HindsightMemory, jax.Array]:
    """The memory with a new batch in its averages, and the corrected step size."""
    after = with_value(with_climb(memory, origin, decay), origin.value, decay)
    # Steps that let the loss rise above its start are too long, or the data are others.
    # Then the count of steps starts anew, and corrections are as fast as at first.
    diverges = after.mean_value - after.early_value > after.mean_change
    climbed = memory.climbed | (larger_climb(after, tolerance) > tolerance)
    after = after._replace(
        climb=jnp.where(diverges, 1, after.climb),
        climbed=climbed & ~diverges,
        num_steps=jnp.where(diverges, 1, memory.num_steps),
    )
    change = jnp.where(diverges, -jnp.log(2.0), _correction(after, rate, tolerance))
    return after, memory.hindsight_step * jnp.exp(change)


def _committed(
    observed: _Observed, origin: Origin, outcome: Outcome, tolerance: Any, decay: Any
) -> HindsightMemory:
    """The memory after a step, or after a batch on which no step was made."""
    before, after, corrected = observed
    applied, searched = outcome.end_step, outcome.num_trials > 0
    # The climb tells of the steps taken. Where the limit or a cap shortened those, a
    # remembered step size that went on growing would take long to come down.
    recent = jnp.maximum(applied, decay * before.recent_step)
    limited = jnp.minimum(corrected, 2 * recent)
    # Far too long steps have left an offset that climbs, however short later ones are.
    # So the mean starts anew, or it would shorten those as well.
    restarts = after.climb > 3 * tolerance
    counted = jnp.where(restarts, 0, before.num_averaged)
    new = after._replace(
        mean_params=mean_with(before._replace(num_averaged=counted), origin.params),
        hindsight_step=jnp.where(searched, applied, limited),
        recent_step=recent,
        num_averaged=trees.one_more(counted),
        num_steps=trees.one_more(after.num_steps),
    )
    # Without a step the averages stay as they were. The next step starts where the
    # failed search ended, unless that lies many decades down: then the batch was at
    # fault, and it would take long to grow back.
    plausible = searched & (applied > FAR_BELOW * corrected)
    step_size = jnp.where(plausible, applied, before.hindsight_step)
    unmoved = before._replace(hindsight_step=step_size)
    return trees.select(outcome.accepted, new, unmoved)


def hindsight(
    rate: float = 1.0,
    tolerance: float = 0.2,
    decay: float = 0.9,
    initial_step_size: float | None = None,
    max_relative_length: float | None = None,
) -> InitialStep:
    r"""Adjusts the step size by a new batch's slope along the past steps.

    .. math::
      h = \frac{\sum_j g_j (w - \bar w)_j}{\sum_j |g_j (w - \bar w)_j|},\quad
      c \leftarrow \beta c + (1-\beta) h

    with g the gradient of a new batch and :math:`\bar w` the mean of the earlier
    iterates, the j-th with weight j. The climb c lies in [-1, 1]. Where it is
    negative, the offset of the params from the mean still goes down on batches that had
    no part in it: the steps were too short. Where it is positive, the offset climbs:
    they were too long.

    In c every batch counts alike. A network that fits most batches has a few with a
    large loss, and steps that are far too long for those spoil the rest. So there is a
    second climb, in which batches count by their gradients: the running mean of the
    numerators over that of the denominators, less :math:`\tau / 2`. The larger of the
    two is c below. With k steps so far

    .. math::
      \log\eta \leftarrow \log\eta + \frac{\rho}{k+10} \left(
      \left[\frac{\tau/4 - c}{\tau}\right]_0^1
      - 2 \left[\frac{c - \tau}{\tau}\right]_0^1
      - 6 \left[\frac{c - 3\tau}{\tau}\right]_0^1 \right)

    where the brackets are clipped to [0, 1], :math:`\rho` is ``rate``, :math:`\tau` is
    ``tolerance`` and :math:`\beta` is ``decay``. Between :math:`\tau/4` and
    :math:`\tau` the step size stays as it is: where batches disagree, long steps climb
    a little, and an average of the iterates is better than shorter steps.

    If the mean loss is above that of the first ten batches by more than its typical
    change, the steps let it diverge, or the data are others. Then the step size is
    halved, c is 1, k is 1 again, and the next batches are the first ones.

    Where the first climb is above :math:`3\tau`, the mean starts anew from the present
    params. Far too long steps leave an offset that goes on climbing, however short
    later steps are. The first step may be many decades too short. So
    :math:`\log\eta` grows by up to 0.2 where :math:`c < -0.6`, until c was above
    :math:`\tau` once, and while the mean loss has fallen by less than 30 times its
    typical change.

    The first step moves the params by 6 % of their length, of those that the direction
    moves. If they are all 0, it moves each by 0.001 (root mean square).

    A step promises at most four times the change of the loss from one batch to the
    next, or its typical size, if that is more. No formula depends on where the zero of
    the loss is. A batch counts at most as ten typical ones in each average.

    With ``max_relative_length`` (r) later steps are at most as long as

    .. math::
      \eta\,\|d\| \le \frac{\max(r\,\|w\|,\ 0.001 \sqrt{n})}{(1 + c)(1 - a)},
      \quad a = \frac{-\langle g, d\rangle}{\|g\|\,\|d\|}

    for the n params that the direction d moves; c is the first climb here. A direction
    with momentum, or of signs, is as long where batches disagree as where they agree.
    Then steps that are far too long show late, when they have spoilt a network. Along
    minus the gradient a is 1.

    The remembered step size is at most twice the longest one taken lately, over 10
    steps or so (by ``decay``). If rounding undoes the steps, the step size grows.

    Args:
      rate: size of the corrections, dimensionless, > 0.
      tolerance: the largest climb that does not shorten the steps, in (0, 0.25].
      decay: weight of the past in the climb and the typical change, in [0, 1).
      initial_step_size: > 0, for the first step; None finds it from the params.
      max_relative_length: > 0, dimensionless, such as 0.01; None sets no limit.

    Returns:
      An initial step. After a search the next correction starts from the step size that
      the search ended with, also if it failed. A failed search that shrank the step by
      twelve decades is ignored.

    State:
      ``climb``, ``mean_slope``, ``mean_size``, ``climbed``, ``hindsight_step``,
      ``recent_step`` and what is known of the loss, scalars; ``mean_params``, like
      params, float32 or wider; ``num_averaged`` and ``num_steps``, int32. A batch that
      is not finite changes none of them.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation; one copy of the params and one pass over it. The limit takes one
      more pass, over params and direction.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e-3))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(60):                # f = w^2 / 2: far too short, so it grows
      ...     updates, state = tx.update(-w, state, w, value=w[0]**2 / 2, grad=w)
      ...     w = w + updates
      >>> bool(0.01 < state.step_size)
      True

    Reference:
      No publication; defined here. It applies the Wolfe curvature condition (Nocedal
      and Wright 2006, equation 3.6b) one step later.
    """
    checks.require("rate", rate, "(0, inf)")
    checks.require("tolerance", tolerance, "(0, 0.25]")
    checks.require("decay", decay, "[0, 1)")
    if initial_step_size is not None:
        checks.require("initial_step_size", initial_step_size, "(0, inf)")
    if max_relative_length is not None:
        checks.require("max_relative_length", max_relative_length, "(0, inf)")

    def init(params: Any) -> HindsightMemory:
        return new_memory(params, initial_step_size)

    def observe(memory: HindsightMemory, origin: Origin) -> _Observed:
        begins = memory.num_steps == 0
        first = memory.hindsight_step
        if initial_step_size is None:
            # After a failed search the next one goes on where that one ended.
            # Most directions end with a change of sign. Reversed before the branch the
            # two cancel, and XLA stores no second copy. Lengths are the same.
            reverse = trees.reverse(origin.direction)
            first = trees.either(
                begins & (first == 0),
                lambda: _first_step(reverse, origin.params, first.dtype),
                lambda: memory.hindsight_step,
            )
        after, corrected = _looked_back(memory, origin, rate, tolerance, decay)
        # Before the first step there is nothing to look back on.
        value = origin.value.astype(memory.climb.dtype)
        started = memory._replace(last_value=value, mean_value=value, early_value=value)
        after = trees.select(begins, started, after)
        return _Observed(memory, after, jnp.where(begins, first, corrected))

    def propose(observed: _Observed, origin: Origin) -> jax.Array:
        change = jnp.abs(origin.value - observed.before.last_value)
        step_size = _shortened(observed.step_size, observed.after, origin, change)
        return _within_length(step_size, observed.after, origin, max_relative_length)

    def commit(
        observed: _Observed, origin: Origin, outcome: Outcome
    ) -> HindsightMemory:
        return _committed(observed, origin, outcome, tolerance, decay)

    return InitialStep(init, propose, commit, ("value", "grad"), observe)
