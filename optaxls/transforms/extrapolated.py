"""Momentum from the mean iterate, for an initial step that keeps that mean."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls.parts.initial_steps.hindsight import HindsightMemory
from optaxls.parts.types import Params
from optaxls.transforms.state import LineSearchState


def _share(state: LineSearchState, memory: HindsightMemory) -> jax.Array:
    """The factor of the offset from the mean iterate that is added to a step.

    It is 1 / (k+1) after k steps. Where the offset climbs on this batch, it is smaller,
    so that half of the decrease that the step promises is left.
    """
    share = 1 / jnp.maximum(memory.num_judged, 1).astype(memory.way_slope.dtype)
    drop = -state.step_size * state.slope
    climbs = memory.way_slope > 0
    at_most = 0.5 * drop / jnp.where(climbs, memory.way_slope, 1)
    share = jnp.where(climbs, jnp.minimum(share, at_most), share)
    return jnp.where(state.accepted, share, 0)


def extrapolated(
    rule: optax.GradientTransformationExtraArgs,
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
      rule: ``scale_by_line_search`` or ``scale_by_initial_step`` with ``hindsight``.

    Returns:
      A transformation with the same state; ``update`` needs the same arguments.

    Raises:
      TypeError, from ``init``: the initial step is not ``hindsight``.

    Cost:
      It evaluates nothing and has no state. The pass over the params that makes the
      updates gets one more term.

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
      No publication; defined here. The interpolation is that of Defazio et al., The
      Road Less Scheduled, 2024, arXiv:2405.15682, with :math:`\beta = 1/2`.
    """

    def init(params: Params) -> LineSearchState:
        state: Any = rule.init(params)
        kept = getattr(state, "initial_step", None)
        if not isinstance(kept, HindsightMemory):
            raise TypeError(
                "extrapolated needs a rule whose initial step is hindsight(), got one"
                f" with the state {type(state).__name__}({type(kept).__name__})"
            )
        return state

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, LineSearchState]:
        updates, new = rule.update(updates, state, params, **extra)
        state = cast(LineSearchState, new)
        memory = state.initial_step
        share = _share(state, memory)
        way = trees.difference(params, memory.mean_params)
        # NaN params stay NaN by themselves; they must not enter by 0 * NaN.
        return trees.add_scaled(updates, share, way, where=share > 0), state

    return optax.GradientTransformationExtraArgs(init, update)
