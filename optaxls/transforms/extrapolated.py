"""Momentum from the mean iterate, for rules that keep one."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.reports import find_reports
from optaxls.parts.initial_steps.hindsight import HindsightMemory
from optaxls.parts.types import LineSearchState, Params


def _share(state: LineSearchState, memory: HindsightMemory) -> jax.Array:
    """Of the way from the mean that is gone again: 1 / (k+1), less where it climbs."""
    share = 1 / jnp.maximum(memory.num_judged, 1).astype(memory.way_slope.dtype)
    drop = -state.step_size * state.slope
    climbs = memory.way_slope > 0
    at_most = 0.5 * drop / jnp.where(climbs, memory.way_slope, 1)
    share = jnp.where(climbs, jnp.minimum(share, at_most), share)
    return jnp.where(state.accepted, share, 0)


def _report_with_mean(state: Any) -> LineSearchState | None:
    """The last report in a state whose initial step keeps a mean of the params."""
    for report in reversed(find_reports(state)):
        if isinstance(getattr(report, "initial_step", None), HindsightMemory):
            return report
    return None


def extrapolated(
    rule: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Goes on, besides the rule's own step, along the way from the mean iterate.

    :math:`w_+ = w + \eta d + \delta (w - \bar w)` with :math:`\bar w` the mean that
    ``hindsight`` keeps, in which the j-th iterate has weight j, and
    :math:`\delta = 1/(k+1)` after k steps. That is averaging without a schedule: with
    :math:`z_+ = z + 2\frac{k+1}{k+2}\eta d` one has :math:`\bar w` the plain mean of
    the z and :math:`w = (z + \bar w)/2`. Noise is averaged over a horizon that grows
    with k, and nobody has to know the end. Where the way climbs this batch,
    :math:`\delta` is so small that at least half of the step's decrease is left.

    Args:
      rule: ``scale_by_line_search`` or ``scale_by_initial_step`` with ``hindsight``,
        also in an ``optax.chain``.

    Returns:
      The rule with its own state; ``update`` needs what the rule does.

    Raises:
      TypeError, from ``init``: the rule keeps no mean.

    Cost:
      No evaluation, no state; one more term in the pass that makes the updates.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> rule = optaxls.scale_by_initial_step(optaxls.hindsight())
      >>> tx = optaxls.extrapolated(rule)
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(50):
      ...     updates, state = tx.update(-w, state, w, value=w[0]**2 / 2, grad=w)
      ...     w = w + updates
      >>> bool(abs(w[0]) < 1e-3)
      True

    Reference:
      Ours; the interpolation is that of Defazio et al., The Road Less Scheduled, 2024,
      arXiv:2405.15682, with :math:`\beta = 1/2`.
    """

    step_rule = optax.with_extra_args_support(rule)

    def init(params: Params) -> Any:
        state = step_rule.init(params)
        if _report_with_mean(state) is None:
            raise TypeError(
                "extrapolated: the initial step of rule must be hindsight(), got the "
                f"state {state!r}"
            )
        return state

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, Any]:
        updates, new = step_rule.update(updates, state, params, **extra)
        report = _report_with_mean(new)
        assert report is not None, "init has found one"
        memory = report.initial_step
        share = _share(report, memory)
        way = trees.difference(params, memory.mean_params)
        # NaN params stay NaN by themselves; they must not enter by 0 * NaN.
        return trees.add_scaled(updates, share, way, where=share > 0), new

    return optax.GradientTransformationExtraArgs(init, update)
