"""A proposed step size as an optax transformation, without a search."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import (
    descent_direction,
    hold_integers,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.reports import tell_path
from optaxls._engine.origin import make_origin, on_path
from optaxls._engine.parts import Memories
from optaxls._engine.state import first_state, next_state, require_part
from optaxls._engine.step import take_untested_step
from optaxls.parts.paths.line import along_direction
from optaxls.parts.types import InitialStep, LineSearchState, Metric, Params, Path


def scale_by_initial_step(
    initial_step: InitialStep,
    *,
    path: Path = along_direction,
    metric: Metric | None = None,
    name: str = "scale_by_initial_step",
) -> optax.GradientTransformationExtraArgs:
    r"""Scales the incoming direction by a proposed step size, which is not tested.

    :math:`w_+ = w + \eta d` with :math:`d` the incoming updates, which are *added*:
    ``optax.scale(-1.0)`` comes before this transformation. ``initial_step`` proposes
    :math:`\eta`: a Polyak step, a Barzilai-Borwein step, or a constant.

    Args:
      initial_step: what proposes the step size, such as ``polyak()``.
      path: how a step size becomes a displacement of the params: ``along_direction``,
        the straight line, ``along_prox(...)`` or ``along_projection(...)``.
      metric: ``(params, displacement) -> ()``, the squared length of a displacement,
        >= 0. None is the Euclidean one, the sum of squares. An initial step that
        divides by the length of a direction reads it.
      name: the optimizer that error messages name.

    Returns:
      A transformation. ``update`` needs ``params`` and what ``initial_step`` uses:
      ``value`` for Polyak steps, ``grad`` for Barzilai-Borwein steps. Without ``grad``
      the incoming updates are taken for the negative gradient. An optional
      ``lower_bound`` (loss units) replaces the bound of a Polyak step for this batch.

      On a loss or slope that is not finite no step is made, and ``initial_step``
      remembers what it did before. Where the direction does not descend (slope >= 0)
      no step is made either.

    State:
      ``LineSearchState``. ``num_trials`` is always 0. ``trial_value`` is NaN where a
      step was made, since no loss is evaluated there.

    Raises:
      TypeError: a part is of another kind, or, from ``update``, an argument that
      ``initial_step`` uses is missing.

    Cost:
      It evaluates no loss, and keeps what ``initial_step`` remembers.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optax.chain(
      ...     optax.scale(-1.0), optaxls.scale_by_initial_step(optaxls.polyak(0.5)))
      >>> w = jnp.array([3.0])      # f = |w|: one Polyak step with 2 c = 1 hits 0
      >>> updates, _ = tx.update(jnp.array([1.0]), tx.init(w), w, value=jnp.array(1.5))
      >>> print(optax.apply_updates(w, updates))
      [0.]

    Reference:
      Loizou et al. 2021, arXiv:2002.10542.
    """
    require_part("initial_step", initial_step)
    require_part("path", path)

    def init(params: Params) -> LineSearchState:
        tell_path(path)
        memories = Memories((), initial_step.init(params), ())
        return first_state(name, memories, params)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        lower_bound: Any = None,
        choose: Any = None,
        scaling: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        del extra
        given = {"value": value, "grad": grad}
        used = {key: given[key] for key in initial_step.uses}
        require_arguments(name, params=params, **used)
        updates = hold_integers(updates, params)
        if initial_step.uses or grad is not None:
            others = {"params": params} if grad is None else {"grad": grad}
            require_same_leaves(name, updates, **others)
        if grad is None:
            grad = trees.conj(jax.tree.map(jnp.negative, updates))
        else:
            updates = descent_direction(updates, grad)
        origin = make_origin(params, grad, updates, value, lower_bound, metric)
        origin = on_path(origin, path, scaling)
        step = take_untested_step(
            origin, state.initial_step, initial_step, path, choose
        )
        memories = Memories((), step.memories, ())
        return step.updates, next_state(step, memories, origin, state)

    return optax.GradientTransformationExtraArgs(init, update)
