"""Conditions that compare the loss of a trial with the losses of past batches."""

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
    with_promise,
)
from optaxls.parts.conditions._excess import armijo_excess
from optaxls.parts.types import Condition, Origin, Outcome, Trial, Verdict, keep_memory


class ZhangHagerMemory(NamedTuple):
    """The weighted mean of the losses so far, its total weight, their deviation.

    ``mean_value`` is in loss units, ``total_weight`` counts losses. ``deviation`` holds
    the typical distance of a loss from the mean.
    """

    mean_value: jax.Array
    total_weight: jax.Array
    deviation: DeviationMemory


def zhang_hager(c: float = 0.5, decay: float = 1.0) -> Condition:
    r"""Accepts a trial by Armijo's inequality against a mean of the past batch losses.

    :math:`f(w_+) \le \max(C_k, f(w)) + c\,\langle g, w_+ - w\rangle` with
    :math:`Q_k = \xi Q_{k-1} + 1` and
    :math:`C_k = (\xi Q_{k-1} C_{k-1} + f(w))/Q_k`. A loss far above the mean enters
    it as one that is ten typical deviations above. In published code, one exploded
    batch raises the mean for good.

    As published, :math:`\xi = 1` never forgets. After the losses have fallen by a
    factor of 100, say, steps may climb up to the old mean. The mean then takes a
    hundred times as many steps to come down. Take 0.9 there, or a new state.

    Args:
      c: share of the predicted decrease, dimensionless, in (0, 1).
      decay: xi, weight of the past, dimensionless, in [0, 1]. 0 is ``armijo``, 1 gives
        the mean of all losses so far. 1 is the paper's choice and best on networks.
        Where losses fall by many orders (least squares), it makes the search stall:
        take 0.9 or less.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``mean_value`` C, in loss units, and ``total_weight`` Q, scalars; ``deviation``:
      the typical distance of a loss from C, and the last promised decrease.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial.

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
        has_mean = memory.total_weight > 0
        deviation = with_loss(memory.deviation, value, old, has_mean)
        return ZhangHagerMemory(mean, weight, deviation)

    def judge(memory: ZhangHagerMemory, origin: Origin, trial: Trial) -> Verdict:
        reference = jnp.maximum(memory.mean_value, origin.value)
        return Verdict(armijo_excess(trial, reference, c))

    def commit(
        memory: ZhangHagerMemory, origin: Origin, outcome: Outcome
    ) -> ZhangHagerMemory:
        del origin
        deviation = with_promise(
            memory.deviation, outcome.accepted, outcome.trial.linear_change
        )
        return memory._replace(deviation=deviation)

    return Condition(init, observe, judge, commit)


class WindowMemory(NamedTuple):
    """The last losses, newest first, and their typical deviation.

    An entry of ``recent_values`` is -inf as long as there was no loss for it, so that
    it is never the largest.
    """

    recent_values: jax.Array
    deviation: DeviationMemory


def window_armijo(c: float = 0.1, window: int = 10) -> Condition:
    r"""Accepts a trial by Armijo's inequality against the largest of the last losses.

    :math:`f(w_+) \le \max_{0 \le j < M} f_{k-j} + c\,\langle g, w_+ - w\rangle`, where
    :math:`M` (``window``) losses include the present one. A loss far above the largest
    enters as one that is ten typical deviations above it. So one exploded batch does
    not let the loss rise without limit.

    Args:
      c: share of the predicted decrease, dimensionless, in (0, 1).
      window: M, number of losses, >= 1; 1 is ``armijo``.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``recent_values``, shape (window,), in loss units; ``deviation``: the typical
      distance of a loss from the largest one, and the last promised decrease.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial.

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
        has_loss = jnp.isfinite(largest)
        entered = loss_at_most_tenfold(value, largest, memory.deviation)
        deviation = with_loss(memory.deviation, value, largest, has_loss)
        return WindowMemory(jnp.roll(values, 1).at[0].set(entered), deviation)

    def judge(memory: WindowMemory, origin: Origin, trial: Trial) -> Verdict:
        reference = jnp.maximum(jnp.max(memory.recent_values), origin.value)
        return Verdict(armijo_excess(trial, reference, c))

    def commit(memory: WindowMemory, origin: Origin, outcome: Outcome) -> WindowMemory:
        del origin
        deviation = with_promise(
            memory.deviation, outcome.accepted, outcome.trial.linear_change
        )
        return memory._replace(deviation=deviation)

    return Condition(init, observe, judge, commit)


class SmoothedMemory(NamedTuple):
    """Running means of the decrease and the steepness over the searches so far.

    ``mean_decrease`` is in loss units, ``mean_steepness`` in loss units per unit step
    size. Both start from 0. ``past_weight`` in [0, 1) is the total weight of the
    searches in them; dividing by it corrects for the start.
    """

    mean_decrease: jax.Array
    mean_steepness: jax.Array
    past_weight: jax.Array


def smoothed_armijo(c: float = 0.5, decay: float = 0.9) -> Condition:
    r"""Accepts a trial by Armijo's inequality, averaged over the past searches.

    With the decrease :math:`\Delta = f(w) - f(w_+)` and the steepness
    :math:`G = -\langle g, d\rangle`, accept when

    .. math::
      \beta \bar\Delta + (1 - \beta)\Delta \ge c\,\eta\,\bar G,\qquad
      \bar G \leftarrow \beta \bar G + (1 - \beta) G

    and then :math:`\bar\Delta \leftarrow \beta\bar\Delta + (1-\beta)\Delta`. So one bad
    batch does not cut the step, and a single step may raise the loss of its batch. A
    batch steeper than ten times the average enters as one ten times as steep. A failed
    search multiplies both averages by :math:`\beta`.

    Args:
      c: share of the predicted decrease, dimensionless, in (0, 1).
      decay: beta, weight of the past, dimensionless, in [0, 1); 0 is ``armijo``.

    Returns:
      A condition for ``scale_by_line_search``.

    State:
      ``mean_decrease``, ``mean_steepness``, ``past_weight``, scalars.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial.

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
        # On a curved path the promised decrease is not proportional to the step size,
        # so it comes from the displacement.
        promised = smooth(trial.step_size * memory.mean_steepness, -trial.linear_change)
        # Divided below by the weight of this batch. That puts the excess in units of
        # its loss, as the rounding that the search ignores.
        excess = c * promised - decrease
        return Verdict(excess / (1 - decay))

    def commit(
        memory: SmoothedMemory, origin: Origin, outcome: Outcome
    ) -> SmoothedMemory:
        # After a failed search the averages fade, since they may have asked for more
        # than any step can give. Once they have faded, the test is Armijo's.
        searched = outcome.num_trials > 0
        faded = jax.tree.map(lambda mean: decay * mean, memory)
        # An exploded batch enters as one ten times as steep as is typical: its decrease
        # is scaled by the same factor as its steepness.
        any_search = memory.past_weight > 0
        typical = memory.mean_steepness / jnp.where(any_search, memory.past_weight, 1)
        steepness = at_most_tenfold(-origin.slope, typical)
        weight = steepness / jnp.where(origin.slope < 0, -origin.slope, 1)
        decrease = weight * (origin.value - outcome.trial.value)
        new = SmoothedMemory(
            # A negative mean would demand that later steps decrease the loss by more,
            # to make up for past increases.
            jnp.maximum(smooth(memory.mean_decrease, decrease), 0),
            smooth(memory.mean_steepness, weight * -origin.slope),
            smooth(memory.past_weight, jnp.ones_like(decrease)),
        )
        entered = trees.select(outcome.accepted, new, faded)
        return trees.select(searched, entered, memory)

    return Condition(init, keep_memory, judge, commit)
