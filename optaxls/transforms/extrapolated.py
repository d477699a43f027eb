"""Momentum from the mean iterate, for an initial step that keeps that mean."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.reports import find_reports
from optaxls.parts.initial_steps.hindsight import HindsightMemory
from optaxls.parts.types import LineSearchState, Params


def _share(state: LineSearchState, memory: HindsightMemory) -> jax.Array:
    """The factor of the offset from the mean iterate that is added to a step.

    It is 1 / (k+1) after k steps. Where the offset climbs on this batch, it is smaller,
    so that half of the decrease that the step promises is left.
    """
    share = 1 / jnp.maximum(memory.num_averaged, 1).astype(memory.offset_slope.dtype)
    drop = -state.step_size * state.slope
    climbs = memory.offset_slope > 0
    at_most = 0.5 * drop / jnp.where(climbs, memory.offset_slope, 1)
    share = jnp.where(climbs, jnp.minimum(share, at_most), share)
    return jnp.where(state.accepted, share, 0)


def _report_with_mean(state: Any) -> LineSearchState | None:
    """The last report in a state whose initial step keeps a mean of the params."""
    for report in reversed(find_reports(state)):
        if isinstance(getattr(report, "initial_step", None), HindsightMemory):
            return report
    return None


def extrapolated(
    step_rule: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Adds momentum to each step: a part of the offset from the mean iterate.

    :math:`w_+ = w + \eta d + \delta (w - \bar w)`. Here :math:`\bar w` is the mean
    that ``hindsight`` keeps, in which the j-th iterate has weight j. After k steps
    :math:`\delta = 1/(k+1)`, smaller where the offset climbs on this batch: at least
    half of the decrease that the step promises is left.

    That averages the iterates without a schedule. With
    :math:`z_+ = z + 2\frac{k+1}{k+2}\eta d` the mean :math:`\bar w` is the plain mean
    of the z, and :math:`w = (z + \bar w)/2`. The noise is averaged over more and more
    steps, and the length of training need not be known.

    Args:
      step_rule: ``scale_by_line_search`` or ``scale_by_initial_step`` with
        ``hindsight``, also in an ``optax.chain``.

    Returns:
      A transformation with the same state; ``update`` needs the same arguments.

    Raises:
      TypeError, from ``init``: the initial step is not ``hindsight``.

    Cost:
      It evaluates nothing and has no state. The pass over the params that makes the
      updates gets one more term.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> step_rule = optaxls.scale_by_initial_step(optaxls.hindsight())
      >>> tx = optaxls.extrapolated(step_rule)
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(50):
      ...     updates, state = tx.update(-w, state, w, value=w[0]**2 / 2, grad=w)
      ...     w = w + updates
      >>> bool(abs(w[0]) < 1e-3)
      True

    Reference:
      No publication; defined here. The interpolation is that of Defazio et al., The
      Road Less Scheduled, 2024, arXiv:2405.15682, with :math:`\beta = 1/2`.
    """

    inner = optax.with_extra_args_support(step_rule)

    def init(params: Params) -> Any:
        state = inner.init(params)
        if _report_with_mean(state) is None:
            raise TypeError(
                "extrapolated: the initial step of step_rule must be hindsight(), got "
                f"the state {state!r}"
            )
        return state

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, Any]:
        updates, new = inner.update(updates, state, params, **extra)
        report = _report_with_mean(new)
        assert report is not None, "init has found one"
        memory = report.initial_step
        share = _share(report, memory)
        offset = trees.difference(params, memory.mean_params)
        # With a share of 0 nothing is added: 0 * NaN would make the updates NaN.
        return trees.add_scaled(updates, share, offset, where=share > 0), new

    return optax.GradientTransformationExtraArgs(init, update)
