"""A line search as an optax transformation, and as a plain function."""

from typing import Any, NamedTuple

import jax
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import (
    descent_direction,
    hold_integers,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.loss import scalar_value_fn
from optaxls._engine.origin import make_origin
from optaxls._engine.parts import Parts, init_memories
from optaxls._engine.state import first_state, memories_of, next_state, require_parts
from optaxls._engine.step import take_step
from optaxls.parts.gates import always
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import (
    Condition,
    Gate,
    InitialStep,
    LineSearchState,
    Metric,
    Params,
    Path,
    Search,
    ValueFn,
)


class LineSearchResult(NamedTuple):
    """The accepted trial, the number of trials, whether accepted, and the memories."""

    step_size: jax.Array
    value: jax.Array
    params: Params
    num_trials: jax.Array
    accepted: jax.Array
    memories: Any


def scale_by_line_search(
    condition: Condition,
    initial_step: InitialStep,
    search: Search = backtracking(),  # noqa: B008  (a pure function)
    *,
    path: Path = along_direction,
    gate: Gate = always(),  # noqa: B008
    fallback_step: float = 1e-6,
    metric: Metric | None = None,
    name: str = "scale_by_line_search",
) -> optax.GradientTransformationExtraArgs:
    r"""Scales the incoming direction by a step size that a line search accepts.

    :math:`w_+ = w + \eta d` with :math:`d` the incoming updates (the minus sign
    included: put ``optax.scale(-1.)`` before) and :math:`\eta` the first trial of
    ``search``, started at ``initial_step``, that satisfies ``condition`` on the same
    mini-batch.

    Args:
      condition: when a trial is good enough.
      initial_step: which step size to try first.
      search: how to go on from a rejected trial.
      path: how a step size becomes a displacement.
      gate: search at this step, or take the proposal untested.
      fallback_step: >= 0, step size after a search that spent its budget; a shorter
        one where the last trial says that it climbs, none where its loss was not
        finite.
      metric: ``(params, displacement) -> squared length`` of a displacement, for
        conditions and paths that measure one; None is the Euclidean length.
      name: the rule that error messages speak of.

    Returns:
      A transformation. ``update`` needs ``params``, ``value`` (loss at params, scalar),
      ``grad`` (its gradient, like params) and ``value_fn`` (params -> loss or
      (loss, aux), same batch and random key); other keyword arguments are ignored.
      A loss or gradient that is not finite gives no step and leaves the memories; so
      does nothing downhill (slope >= 0). Reverse-mode differentiation through
      ``update`` is right or refused with JAX's error about ``lax.while_loop``.

    State:
      ``LineSearchState``: ``step_size``, ``num_trials``, ``accepted``, ``value``,
      ``slope``, ``trial_value`` (scalars, float32 or wider) and the memories.

    Raises:
      ValueError: ``fallback_step`` lies outside its range. TypeError: a part is of
      another kind, or, from ``update``, an argument is missing.

    Cost:
      One evaluation of ``value_fn`` per trial; no copy of the params beyond the trial.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> def loss(w):
      ...     return 0.5 * jnp.sum(jnp.array([1.0, 10.0]) * w**2)
      >>> optimizer = optax.chain(
      ...     optax.scale(-1.0),
      ...     optaxls.scale_by_line_search(
      ...         optaxls.armijo(0.5), optaxls.constant(1.0),
      ...         optaxls.backtracking(0.5)))
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(200):
      ...     value, grad = jax.value_and_grad(loss)(w)
      ...     updates, state = optimizer.update(
      ...         grad, state, w, value=value, grad=grad, value_fn=loss)
      ...     w = optax.apply_updates(w, updates)
      >>> bool(jnp.max(jnp.abs(w)) < 1e-6)
      True

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 1; the parts cite theirs.
    """
    checks.require("fallback_step", fallback_step, "[0, inf)")
    parts = Parts(condition, initial_step, search, path, gate, fallback_step)
    require_parts(parts)

    def init(params: Params) -> LineSearchState:
        return first_state(name, init_memories(parts, params), params)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        lower_bound: Any = None,
        choose: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        del extra
        require_arguments(
            name, params=params, value=value, grad=grad, value_fn=value_fn
        )
        updates = hold_integers(updates, params)
        require_same_leaves(name, updates, params=params, grad=grad)
        updates = descent_direction(updates, grad)
        origin = make_origin(params, grad, updates, value, lower_bound, metric)
        loss = scalar_value_fn(value_fn, origin.value.dtype)
        step = take_step(loss, origin, memories_of(state), parts, choose)
        return step.updates, next_state(step, step.memories, origin, state)

    return optax.GradientTransformationExtraArgs(init, update)


def line_search(
    value_fn: ValueFn,
    params: Params,
    direction: Params,
    *,
    value: Any,
    grad: Params,
    condition: Condition,
    initial_step: InitialStep,
    search: Search = backtracking(),  # noqa: B008
    path: Path = along_direction,
    gate: Gate = always(),  # noqa: B008
    fallback_step: float = 1e-6,
    lower_bound: Any = None,
    metric: Metric | None = None,
    memories: Any = None,
) -> LineSearchResult:
    r"""The engine as a plain function, for use outside a transformation.

    Args:
      value_fn: params -> loss, or (loss, aux) whose aux is dropped.
      params: where to start.
      direction: what is *added*, like params.
      value: loss at params, scalar.
      grad: gradient at params, like params.
      condition, initial_step, search, path, gate, fallback_step, metric: as in
        ``scale_by_line_search``.
      lower_bound: overrules a Polyak rule's bound, loss units.
      memories: those of the last call's result; None starts afresh.

    Returns:
      ``LineSearchResult``: step size, value and params of the accepted trial (of the
      fallback, with the last value seen, if none was), ``num_trials``, ``accepted``,
      ``memories``.

    Raises:
      ValueError: ``fallback_step`` lies outside its range. TypeError: a part is of
      another kind.

    Cost:
      One evaluation of ``value_fn`` per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0, -2.0])
      >>> result = optaxls.line_search(
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(2.5), grad=w,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(1.0))
      >>> print(result.params, result.value, result.accepted)
      [0. 0.] 0.0 True

    Reference:
      As ``scale_by_line_search``.
    """
    checks.require("fallback_step", fallback_step, "[0, inf)")
    parts = Parts(condition, initial_step, search, path, gate, fallback_step)
    require_parts(parts)
    if memories is None:
        memories = trees.fresh(init_memories(parts, params))
    direction = descent_direction(direction, grad)
    origin = make_origin(params, grad, direction, value, lower_bound, metric)
    loss = scalar_value_fn(value_fn, origin.value.dtype)
    step = take_step(loss, origin, memories, parts)
    return LineSearchResult(
        step.outcome.applied.step_size,
        step.outcome.applied.value,
        optax.apply_updates(params, step.updates),
        step.outcome.num_trials + step.outcome.num_fallback_trials,
        step.outcome.accepted,
        step.memories,
    )
