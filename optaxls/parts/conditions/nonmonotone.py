"""Conditions that compare a trial with the past losses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import (
    DeviationMemory,
    at_most_tenfold,
    loss_at_most_tenfold,
    no_deviation,
    with_loss,
    with_outcome,
)
from optaxls.parts.conditions._excess import armijo_excess
from optaxls.parts.types import Condition, Origin, Outcome, Trial, Verdict, keep_memory


class ZhangHagerMemory(NamedTuple):
    """Weighted mean of the losses so far, sum of their weights, typical deviation."""

    mean_value: jax.Array
    total_weight: jax.Array
    deviation: DeviationMemory


def zhang_hager(c: float = 0.5, decay: float = 1.0) -> Condition:
    r"""Nonmonotone Armijo against a weighted mean of the past mini-batch losses.

    :math:`f(w_+) \le \max(C_k, f(w)) + c\,\langle g, w_+ - w\rangle` with
    :math:`Q_k = \xi Q_{k-1} + 1` and
    :math:`C_k = (\xi Q_{k-1} C_{k-1} + f(w))/Q_k`. A loss enters the mean as at most
    ten typical deviations above it. Published code keeps a batch that exploded
    in its mean for good.

    As published, :math:`\xi = 1` never forgets. Where the scale of the loss falls for
    good, by a hundred say, steps may climb up to the old mean, and that takes a hundred
    times the steps before to come down. Take 0.9 there, or a new state.

    Args:
      c: dimensionless, in (0, 1).
      decay: xi in [0, 1]: 0 is monotone Armijo, 1 the mean of all losses so far.
        1 is the paper's choice and best on networks; where losses fall by many orders
        (least squares), the mean never forgets and the search stalls: take 0.9 or less.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``mean_value`` C and ``total_weight`` Q, scalars; ``deviation``: the typical
      distance of a loss from C, and the last promised decrease.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing beyond the trial's loss evaluation.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.zhang_hager(0.5), optaxls.constant(4.0),
      ...     optaxls.backtracking(0.5))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> updates, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                            value_fn=lambda w: 0.5 * jnp.sum(w**2))
      >>> print(optax.apply_updates(w, updates), optaxls.metrics(state)["mean_value"])
      [0.] 0.5

    Reference:
      Zhang and Hager 2004; Galli, Rauhut, Schmidt 2023, arXiv:2306.12747, equation 3.
    """
    checks.require("c", c, "(0, 1)")
    checks.require("decay", decay, "[0, 1]")

    def init(params: Any) -> ZhangHagerMemory:
        dtype = trees.scalar_dtype(params)
        zero = jnp.zeros((), dtype)
        return ZhangHagerMemory(zero, zero, no_deviation(dtype))

    def observe(memory: ZhangHagerMemory, origin: Origin) -> ZhangHagerMemory:
        old_weight = decay * memory.total_weight
        weight = old_weight + 1
        value, old = origin.value, memory.mean_value
        entered = loss_at_most_tenfold(value, old, memory.deviation)
        mean = (old_weight * old + entered) / weight
        known = memory.total_weight > 0
        deviation = with_loss(memory.deviation, value, old, known)
        return ZhangHagerMemory(mean, weight, deviation)

    def judge(memory: ZhangHagerMemory, origin: Origin, trial: Trial) -> Verdict:
        reference = jnp.maximum(memory.mean_value, origin.value)
        return Verdict(armijo_excess(trial, reference, c))

    def commit(
        memory: ZhangHagerMemory, origin: Origin, outcome: Outcome
    ) -> ZhangHagerMemory:
        del origin
        return memory._replace(deviation=with_outcome(memory.deviation, outcome))

    return Condition(init, observe, judge, commit)


class WindowMemory(NamedTuple):
    """The last losses, newest first, -inf where there was none; typical deviation."""

    recent_values: jax.Array
    deviation: DeviationMemory


def window_armijo(c: float = 0.1, window: int = 10) -> Condition:
    r"""Nonmonotone Armijo against the largest of the last ``window`` losses.

    :math:`f(w_+) \le \max_{0 \le j < M} f_{k-j} + c\,\langle g, w_+ - w\rangle`, the
    present loss included. A loss enters the window as at most ten typical deviations
    above that, as in ``zhang_hager``.

    Args:
      c: dimensionless, in (0, 1).
      window: M, number of losses, >= 1; 1 is monotone Armijo.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``recent_values``, shape (window,); ``deviation`` as in ``zhang_hager``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing beyond the trial's loss evaluation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.window_armijo(0.5, window=3),
      ...     initial_step=optaxls.constant(1.0))
      >>> print(result.params)
      [0.]

    Reference:
      Grippo, Lampariello, Lucidi, A Nonmonotone Line Search Technique, 1986.
    """
    checks.require("c", c, "(0, 1)")
    checks.require_integer("window", window, 1)

    def init(params: Any) -> WindowMemory:
        dtype = trees.scalar_dtype(params)
        return WindowMemory(jnp.full(window, -jnp.inf, dtype), no_deviation(dtype))

    def observe(memory: WindowMemory, origin: Origin) -> WindowMemory:
        values, largest = memory.recent_values, jnp.max(memory.recent_values)
        value = origin.value.astype(values.dtype)
        known = jnp.isfinite(largest)
        entered = loss_at_most_tenfold(value, largest, memory.deviation)
        deviation = with_loss(memory.deviation, value, largest, known)
        return WindowMemory(jnp.roll(values, 1).at[0].set(entered), deviation)

    def judge(memory: WindowMemory, origin: Origin, trial: Trial) -> Verdict:
        reference = jnp.maximum(jnp.max(memory.recent_values), origin.value)
        return Verdict(armijo_excess(trial, reference, c))

    def commit(memory: WindowMemory, origin: Origin, outcome: Outcome) -> WindowMemory:
        del origin
        return memory._replace(deviation=with_outcome(memory.deviation, outcome))

    return Condition(init, observe, judge, commit)


class SmoothedMemory(NamedTuple):
    """Averages over the searches so far, in loss units and loss per unit step size.

    They start from 0; ``share_seen`` in [0, 1) is the weight of what has been seen.
    """

    mean_decrease: jax.Array
    mean_steepness: jax.Array
    share_seen: jax.Array


def smoothed_armijo(c: float = 0.5, decay: float = 0.9) -> Condition:
    r"""Armijo with both sides averaged over the past searches.

    With the decrease :math:`\Delta = f(w) - f(w_+)` and the steepness
    :math:`G = -\langle g, d\rangle`, accept when

    .. math::
      \beta \bar\Delta + (1 - \beta)\Delta \ge c\,\eta\,\bar G,\qquad
      \bar G \leftarrow \beta \bar G + (1 - \beta) G

    and then :math:`\bar\Delta \leftarrow \beta\bar\Delta + (1-\beta)\Delta`. One bad
    batch no longer cuts the step; a single step may raise its batch's loss. A batch
    enters as at most ten times as steep as is typical, and a failed search lets both
    averages fade.

    Args:
      c: dimensionless, in (0, 1).
      decay: beta, weight of the past, in [0, 1); 0 is Armijo.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``mean_decrease``, ``mean_steepness``, ``share_seen``, scalars.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Nothing beyond the trial's loss evaluation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # no past: the test is Armijo's
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.smoothed_armijo(0.5),
      ...     initial_step=optaxls.constant(4.0), search=optaxls.backtracking(0.5))
      >>> print(result.step_size)
      1.0

    Reference:
      Kenneweg et al., No learning rates needed: SaLSA, 2024, arXiv:2407.20650.
    """
    checks.require("c", c, "(0, 1)")
    checks.require("decay", decay, "[0, 1)")

    def smooth(old: jax.Array, new: jax.Array) -> jax.Array:
        return decay * old + (1 - decay) * new

    def init(params: Any) -> SmoothedMemory:
        zero = jnp.zeros((), trees.scalar_dtype(params))
        return SmoothedMemory(zero, zero, zero)

    def judge(memory: SmoothedMemory, origin: Origin, trial: Trial) -> Verdict:
        decrease = smooth(memory.mean_decrease, origin.value - trial.value)
        steepness = smooth(memory.mean_steepness, -origin.slope)
        # In units of this loss, in which differences are forgiven.
        excess = c * trial.step_size * steepness - decrease
        return Verdict(excess / (1 - decay))

    def commit(
        memory: SmoothedMemory, origin: Origin, outcome: Outcome
    ) -> SmoothedMemory:
        # A failed search says nothing of the rest; but its averages may be to blame,
        # and so both fade, until the test is Armijo's.
        searched = outcome.num_trials > 0
        faded = jax.tree.map(lambda mean: decay * mean, memory)
        # A batch that exploded enters as one ten times as steep as is typical.
        known = memory.share_seen > 0
        typical = memory.mean_steepness / jnp.where(known, memory.share_seen, 1)
        steepness = at_most_tenfold(-origin.slope, typical)
        weight = steepness / jnp.where(origin.slope < 0, -origin.slope, 1)
        decrease = weight * (origin.value - outcome.trial.value)
        new = SmoothedMemory(
            # Below 0 it would ask of every later step to make up for the past.
            jnp.maximum(smooth(memory.mean_decrease, decrease), 0),
            smooth(memory.mean_steepness, weight * -origin.slope),
            smooth(memory.share_seen, jnp.ones_like(decrease)),
        )
        entered = trees.select(outcome.accepted, new, faded)
        return trees.select(searched, entered, memory)

    return Condition(init, keep_memory, judge, commit)
