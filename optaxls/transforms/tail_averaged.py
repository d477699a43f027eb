"""Evaluates the average of the tail of a run, and leaves regions without a loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import hold_integers
from optaxls._core.reports import find_reports, require_reports
from optaxls.parts.initial_steps._hindsight_memory import HindsightMemory

# After so many batches in a row without a finite loss, the params are taken back.
_PATIENCE = 2


class TailAverageState(NamedTuple):
    """The state of ``step_rule``, the average of the params, and two counts.

    ``num_in_tail`` iterates are in ``tail_mean``. The last ``num_non_finite`` batches
    had no finite loss or slope.
    """

    step_rule: Any
    tail_mean: Any
    num_in_tail: jax.Array
    num_non_finite: jax.Array
    power: jax.Array

    def eval_params_with(self, params: Any) -> Any:
        """The average with the present ``params`` included, in their dtypes.

        Integer leaves are those of ``params``.
        """
        mean = trees.toward(self.tail_mean, _weight(self), params)
        mean = jax.tree.map(lambda m, w: m if trees.is_inexact(w) else w, mean, params)
        return trees.cast_like(mean, params)


def _weight(state: TailAverageState) -> jax.Array:
    """The weight of the next iterate: (p + 1) / (k + p) for the k-th."""
    power = state.power
    return (power + 1) / (state.num_in_tail.astype(power.dtype) + 1 + power)


def _halved(state: Any, halve: jax.Array) -> Any:
    """The state with half the step size that ``hindsight`` remembers, if ``halve``."""

    def node(found):
        if not isinstance(found, HindsightMemory):
            return found
        step_size = found.hindsight_step
        return found._replace(hindsight_step=jnp.where(halve, 0.5, 1) * step_size)

    return jax.tree.map(
        node, state, is_leaf=lambda found: isinstance(found, HindsightMemory)
    )


def tail_averaged(
    step_rule: optax.GradientTransformation, power: float = 8.0
) -> optax.GradientTransformationExtraArgs:
    r"""Keeps an average of the last part of the run, for ``eval_params``.

    :math:`m_k = m_{k-1} + \frac{p+1}{k+p} (w_k - m_{k-1})`, so that the j-th iterate
    has a weight in proportion to :math:`j^p` (nearly). With the default power p of 8,
    half of the weight lies on the last thirteenth of the run, whatever its length.
    Where batches disagree, long steps circle around a good point. The average is near
    that point, so the step size need not be annealed, and no horizon has to be known.

    ``optaxls.eval_params(opt_state, params)`` returns the average with the present
    params included. Training goes on from the params themselves.

    A step may also leave the region where the loss is finite. Then every later batch is
    NaN, and no step can be made. So after two batches in a row without a finite loss
    and slope, the params go back to the average, and ``hindsight`` halves its step
    size. A single bad batch moves nothing.

    Args:
      step_rule: ``scale_by_line_search(...)``, ``scale_by_initial_step(...)``, an
        optimizer, or an ``optax.chain`` with one of these.
      power: p >= 0, dimensionless. With 0 it is the mean of all iterates.

    Returns:
      A transformation. ``update`` needs ``params`` and what ``step_rule`` needs.

    State:
      ``step_rule``, its state; ``tail_mean``, like params, float32 or wider;
      ``num_in_tail`` and ``num_non_finite``, int32; ``power``.

    Raises:
      ValueError: ``power`` lies outside its range.
      TypeError, from ``init``: no part of ``step_rule`` finds a step size.

    Cost:
      No evaluation; one copy of the params and one pass over it.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.tail_averaged(
      ...     optaxls.scale_by_initial_step(optaxls.constant(2.0)))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(100):          # w jumps between 1 and -1
      ...     updates, state = tx.update(-w, state, w, value=0.5, grad=w)
      ...     w = w + updates
      >>> bool(abs(optaxls.eval_params(state, w)[0]) < 0.1)
      True

    Reference:
      Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, 2013,
      arXiv:1212.1824 (polynomial-decay averaging, section 4).
    """
    checks.require("power", power, "[0, inf)")
    rule = optax.with_extra_args_support(step_rule)

    def init(params: Any) -> TailAverageState:
        state = rule.init(params)
        require_reports("tail_averaged", state)
        none = jnp.zeros((), jnp.int32)
        power_ = jnp.asarray(power, trees.scalar_dtype(params))
        average = trees.fresh((trees.wide(params), none, none, power_))
        return TailAverageState(state, *average)

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, TailAverageState]:
        updates, inner = rule.update(updates, state.step_rule, params, **extra)
        report = find_reports(inner)[-1]
        finite = jnp.isfinite(report.value) & jnp.isfinite(report.slope)
        # Where the loss is not finite the params are no point to average.
        mean = trees.toward(state.tail_mean, _weight(state), params)
        mean = trees.select(finite, mean, state.tail_mean)
        failures = jnp.where(finite, 0, trees.one_more(state.num_non_finite))
        back = (failures >= _PATIENCE) & (state.num_in_tail > 0)
        way = hold_integers(trees.difference(mean, params), params)
        updates = trees.select(back, way, updates)
        new = TailAverageState(
            _halved(inner, back),
            mean,
            state.num_in_tail + finite,
            jnp.where(back, 0, failures),
            state.power,
        )
        return updates, trees.cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)
