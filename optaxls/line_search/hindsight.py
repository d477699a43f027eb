"""A step size judged in hindsight, by a slope on a fresh batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls import _checks, _tree
from optaxls._types import InitialStep, Origin, Outcome


class HindsightMemory(NamedTuple):
    """The mean iterate, two means of slopes against it, the step size, steps made."""

    mean_params: Any
    mean_slope: jax.Array
    mean_abs_slope: jax.Array
    hindsight_step: jax.Array
    num_judged: jax.Array


def _mean_with(memory: HindsightMemory, params: Any) -> Any:
    """The mean iterate including ``params``; integer leaves stay as they are.

    Where none was judged yet the mean is what the params were at ``init``, and the
    first step makes it ``params``: with a weight of one, like the second.
    The params are read when the next step starts, so that whatever was chained after
    the rule is part of the way. Averaged in float32: near the end of a run a bfloat16
    mean would not move.
    """
    count = jnp.maximum(memory.num_judged, 1)

    def leaf(mean, w):
        trained = jnp.issubdtype(jnp.result_type(w), jnp.inexact)
        return mean + (w - mean) / count if trained else mean

    return jax.tree.map(leaf, memory.mean_params, params)


def _slope_of_way(memory: HindsightMemory, origin: Origin) -> jax.Array:
    """``<g, w - mean>`` with the mean that includes w, without forming that mean.

    Its distance from w is that of the mean before, times ``1 - 1 / k``.
    """
    dtype = memory.mean_slope.dtype
    count = jnp.maximum(memory.num_judged, 1).astype(dtype)
    way = jax.tree.map(jnp.subtract, origin.params, memory.mean_params)
    return (1 - 1 / count) * _tree.inner(origin.grad, way, dtype)


def _judged(memory: HindsightMemory, origin: Origin, decay: Any) -> HindsightMemory:
    """The memory after a look back from ``origin``, the step size not yet changed."""
    slope = _slope_of_way(memory, origin)
    # A batch whose loss exploded must not decide alone for the next 1 / (1 - decay).
    seen = (memory.num_judged - 1).astype(slope.dtype)
    usual = memory.mean_abs_slope / jnp.maximum(1 - decay**seen, 1 - decay)
    bound = jnp.where(usual > 0, 10 * usual, jnp.inf)
    slope = jnp.clip(slope, -bound, bound)
    new = memory._replace(
        mean_slope=decay * memory.mean_slope + (1 - decay) * slope,
        mean_abs_slope=decay * memory.mean_abs_slope + (1 - decay) * jnp.abs(slope),
    )
    return _tree.select(memory.num_judged > 0, new, memory)


def _wide(params: Any) -> Any:
    def leaf(w):
        kind = jnp.result_type(w)
        wide = jnp.promote_types(kind, jnp.float32)
        return jnp.asarray(w, wide if jnp.issubdtype(kind, jnp.inexact) else kind)

    return jax.tree.map(leaf, params)


def hindsight(
    rate: float = 2.0,
    tolerance: float = 0.2,
    decay: float = 0.9,
    initial_step_size: float = 1.0,
) -> InitialStep:
    r"""The last step size, corrected by what the way come so far looks like from here.

    .. math::
      h = \langle g, w - \bar w\rangle,\quad
      S \leftarrow \beta S + (1-\beta) h,\quad
      A \leftarrow \beta A + (1-\beta)|h|,\quad
      \eta \leftarrow \eta \exp\frac{\rho\operatorname{clip}(\tau - S/A, -1, 1)}{k+10}

    with :math:`\bar w` the mean of the iterates, :math:`\rho` (``rate``), :math:`\tau`
    (``tolerance``), :math:`\beta` (``decay``), :math:`k` steps made. A fresh batch's
    slope at the end of a displacement that it had no part in: still going down, the
    steps were too short; climbing, too long. The horizon grows with k, which a test on
    the same batch cannot do; S / A is free of scale; the gain settles like 1 / k.

    Args:
      rate: dimensionless, > 0.
      tolerance: the S / A aimed at, in [-1, 1]; a little overshoot by default.
      decay: weight of the past in S and A, in [0, 1).
      initial_step_size: > 0, for the first step; ``bracketing`` behind the gate
        ``first(1)`` finds a better one.

    Returns:
      An initial step. After a search it goes on from the step size found. It makes no
      trial: a step that is too long is seen one step late, and where losses are near 0
      a network of ReLUs may have died by then. A search or a cap beside it guards.

    State:
      ``hindsight_step``, ``mean_slope``, ``mean_abs_slope``, scalars; ``mean_params``,
      like params, float32 or wider; ``num_judged``, int32. A batch that is not finite
      leaves all of them.

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
      ...     updates, state = tx.update(-w, state, w, grad=w)
      ...     w = w + updates
      >>> bool(0.01 < state.step_size)
      True

    Reference:
      Ours; a Wolfe curvature condition (Nocedal and Wright 2006, equation 3.6b),
      applied one step later.
    """
    _checks.require("rate", rate, "(0, inf)")
    _checks.require("tolerance", tolerance, "[-1, 1]")
    _checks.require("decay", decay, "[0, 1)")
    _checks.require("initial_step_size", initial_step_size, "(0, inf)")

    def init(params: Any) -> HindsightMemory:
        zero = jnp.zeros((), _tree.scalar_dtype(params))
        first = jnp.asarray(initial_step_size, zero.dtype)
        none = jnp.zeros((), jnp.int32)
        return HindsightMemory(_wide(params), zero, zero, first, none)

    def propose(memory: HindsightMemory, origin: Origin) -> jax.Array:
        seen = _judged(memory, origin, decay)
        known = seen.mean_abs_slope > 0
        ratio = seen.mean_slope / jnp.where(known, seen.mean_abs_slope, 1)
        excess = jnp.where(known, jnp.clip(tolerance - ratio, -1, 1), 0)
        gain = rate / (memory.num_judged + 10).astype(excess.dtype)
        return memory.hindsight_step * jnp.exp(gain * excess)

    def commit(
        memory: HindsightMemory, origin: Origin, outcome: Outcome
    ) -> HindsightMemory:
        # Where nothing moved there was nothing to judge.
        top = jnp.iinfo(jnp.int32).max
        new = _judged(memory, origin, decay)._replace(
            mean_params=_mean_with(memory, origin.params),
            hindsight_step=outcome.trial.step_size,
            num_judged=jnp.minimum(memory.num_judged, top - 1) + 1,
        )
        return _tree.select(outcome.accepted, new, memory)

    return InitialStep(init, propose, commit, uses=("grad",))
