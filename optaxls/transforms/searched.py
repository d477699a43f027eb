"""A line search as an optax transformation, and as a plain function."""

from typing import Any, NamedTuple

import jax
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import descent_direction, prepared_direction
from optaxls._core.loss import scalar_value_fn
from optaxls._engine.origin import make_origin, on_path, turned_downhill
from optaxls._engine.parts import Parts, init_memories
from optaxls._engine.state import first_state, memories_of, next_state, require_parts
from optaxls._engine.step import Applied, Choose, Step, take_step
from optaxls.parts.gates import always
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import (
    Condition,
    Gate,
    InitialStep,
    LineSearchState,
    Metric,
    Origin,
    Outcome,
    Params,
    Path,
    Search,
    ValueFn,
)


class LineSearchResult(NamedTuple):
    """What ``line_search`` returns: the step taken, and what its parts remember.

    ``step_size``, ``value`` and ``params`` describe the step taken. ``value`` is NaN
    where the loss there was not evaluated, and the loss before the step where no step
    was made. ``num_trials`` counts the trial of a fallback step too. ``accepted`` is
    False after a failed search, and where no step was made. ``grad`` is the gradient at
    ``params`` if the condition has ``needs_slope``, else ().
    """

    step_size: jax.Array
    value: jax.Array
    params: Params
    num_trials: jax.Array
    accepted: jax.Array
    memories: Any
    grad: Params = ()


def _reversed_where(sign: jax.Array, choose: Choose | None) -> Choose | None:
    """``choose`` for a search along the direction times ``sign``."""
    if choose is None:
        return None

    def chosen(outcome: Outcome) -> Applied:
        direction, tested = choose.apply(outcome)
        return Applied(trees.scale(sign, direction), tested)

    return choose._replace(apply=chosen)


def _signed(step: Step, sign: jax.Array) -> Step:
    """The step with its size along the given direction, which may be negative."""
    applied = step.outcome.applied
    applied = applied._replace(step_size=sign * applied.step_size)
    return step._replace(outcome=step.outcome._replace(applied=applied))


def _take_downhill(
    loss: ValueFn, origin: Origin, memories: Any, parts: Parts, choose: Choose | None
) -> Step:
    """``take_step`` along the other side of a direction that climbs."""
    downhill, sign = turned_downhill(origin)
    step = take_step(loss, downhill, memories, parts, _reversed_where(sign, choose))
    return _signed(step, sign)


_TAKES = {"stop": take_step, "flip": _take_downhill}


def _require_uphill(uphill: Any, path: Path) -> None:
    checks.require_choice("uphill", uphill, _TAKES)
    if path.prox is not None:
        checks.require_choice("uphill, along a path with a prox,", uphill, ("stop",))


def scale_by_line_search(
    condition: Condition,
    initial_step: InitialStep,
    search: Search = backtracking(),  # noqa: B008  (a pure function)
    *,
    path: Path = along_direction,
    gate: Gate = always(),  # noqa: B008
    fallback_step: float = 1e-6,
    metric: Metric | None = None,
    uphill: str = "stop",
    name: str = "scale_by_line_search",
) -> optax.GradientTransformationExtraArgs:
    r"""Scales the incoming direction by a step size that a line search accepts.

    :math:`w_+ = w + \eta d` with :math:`d` the incoming updates, which are *added*.
    Gradients point uphill, so ``optax.scale(-1.0)`` comes before this transformation.
    :math:`\eta` is the first trial that satisfies ``condition``. The trials begin at
    the step size that ``initial_step`` proposes, and ``search`` makes the next ones.

    Args:
      condition: when a trial is good enough, such as ``armijo()``.
      initial_step: which step size to try first, such as ``grow()``.
      search: how to go on from a rejected trial, such as ``backtracking()``.
      path: how a step size becomes a displacement of the params: ``along_direction``,
        the straight line, ``along_prox(...)`` or ``along_projection(...)``.
      gate: whether to search at this step, or to take the proposed step size untested.
      fallback_step: >= 0, a step size. A search that spent its budget evaluates it
        once more, cut to what it would have tried next. ``num_trials`` counts that
        evaluation. The step is taken only if its loss does not climb; else no step
        is made, and with 0 none is tried.
      metric: ``(params, displacement) -> ()``, the squared length of a displacement,
        >= 0. None is the Euclidean one, the sum of squares. Parts that divide by the
        length of a direction, such as ``polyak``, read it.
      uphill: what is done with a direction that climbs (slope > 0). "stop": no step.
        "flip": its other side is searched, and ``step_size`` is negative. It is not
        defined along a path with a ``prox``.
      name: the optimizer that error messages name.

    Returns:
      A transformation. ``update`` needs ``params``, ``value`` (the loss at params,
      scalar), ``grad`` (its gradient, like params) and ``value_fn`` (params -> loss or
      (loss, aux)). ``value_fn`` must use the batch and random key of ``value`` in every
      trial: a search compares losses of one function. An optional ``lower_bound`` (loss
      units) replaces, for this batch, the bound of a Polyak initial step. Other keyword
      arguments are ignored.

      On a loss or slope that is not finite no step is made, and the parts remember what
      they did before. Where the direction does not descend (slope >= 0) no step is made
      either, but for ``uphill``. Reverse-mode differentiation through ``update`` is
      right, or it raises JAX's error about ``lax.while_loop``.

    State:
      ``LineSearchState``: ``step_size``, ``num_trials``, ``accepted``, ``value``,
      ``slope``, ``trial_value`` (scalars; the real ones float32 or wider) and what the
      parts remember. ``trial_value`` is the loss at the end of the step taken. It is
      NaN where that loss was not evaluated, or ``value`` under ``jax_debug_nans``.

    Raises:
      ValueError: ``fallback_step`` lies outside its range. TypeError: a part is of
      another kind, or, from ``update``, an argument is missing.

    Cost:
      It evaluates ``value_fn`` once per trial, and keeps no copy of the params beyond
      that of the trial.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> def loss(w):
      ...     return 0.5 * jnp.sum(jnp.array([1.0, 10.0]) * w**2)
      >>> optimizer = optax.chain(
      ...     optax.scale(-1.0),
      ...     optaxls.scale_by_line_search(
      ...         optaxls.armijo(0.5), optaxls.constant(1.0),
      ...         optaxls.backtracking(0.5)))
      >>> @jax.jit
      ... def step(w, state):
      ...     value, grad = jax.value_and_grad(loss)(w)
      ...     updates, state = optimizer.update(
      ...         grad, state, w, value=value, grad=grad, value_fn=loss)
      ...     return optax.apply_updates(w, updates), state
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(200):
      ...     w, state = step(w, state)
      >>> bool(jnp.max(jnp.abs(w)) < 1e-6)
      True

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 1. Each part names its source.
    """
    checks.require("fallback_step", fallback_step, "[0, inf)")
    parts = Parts(condition, initial_step, search, path, gate, fallback_step)
    require_parts(parts)
    _require_uphill(uphill, path)
    take = _TAKES[uphill]

    def init(params: Params) -> LineSearchState:
        memories = init_memories(parts, params)
        return first_state(name, memories, params, condition.needs_slope)

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
        scaling: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        del extra
        updates = prepared_direction(
            name, updates, params, value, grad, value_fn=value_fn
        )
        origin = make_origin(params, grad, updates, value, lower_bound, metric)
        origin = on_path(origin, path, scaling)
        loss = scalar_value_fn(value_fn, origin.value.dtype)
        step = take(loss, origin, memories_of(state), parts, choose)
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
    uphill: str = "stop",
    memories: Any = None,
) -> LineSearchResult:
    r"""Searches once for a step size, outside of any optimizer.

    Args:
      value_fn: params -> loss, or (loss, aux) whose aux is dropped. All calls must use
        the same batch and random key: a search compares losses of one function.
      params: where to start.
      direction: what is *added*, like params.
      value: loss at params, scalar.
      grad: gradient at params, like params.
      condition: when a trial is good enough, such as ``armijo()``.
      initial_step: which step size to try first, such as ``constant(1.0)``.
      search: how to go on from a rejected trial, such as ``backtracking()``.
      path: how a step size becomes a displacement of the params; by default they move
        along the straight line.
      gate: whether to search, or to take the proposed step size untested.
      fallback_step: >= 0, a step size. A search that spent its budget evaluates it
        once more, cut to what it would have tried next. ``num_trials`` counts that
        evaluation. The step is taken only if its loss does not climb; else no step
        is made, and with 0 none is tried.
      lower_bound: of this batch's loss, loss units; it replaces the bound of a Polyak
        initial step. None leaves that as it is.
      metric: ``(params, displacement) -> ()``, the squared length of a displacement,
        >= 0. None is the Euclidean one, the sum of squares.
      uphill: what is done with a direction that climbs, as in
        ``scale_by_line_search``: "stop" or "flip".
      memories: what the parts remember, from the last call's result. None begins anew.

    Returns:
      ``LineSearchResult``: ``step_size``, ``value`` and ``params`` of the step taken,
      ``num_trials``, ``accepted``, and the ``memories`` for the next call.

    Raises:
      ValueError: ``fallback_step`` lies outside its range. TypeError: a part is of
      another kind.

    Cost:
      It evaluates ``value_fn`` once per trial.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0, -2.0])
      >>> result = optaxls.line_search(
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(2.5), grad=w,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(1.0))
      >>> print(result.params, result.value, result.accepted)
      [0. 0.] 0.0 True

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 1.
    """
    checks.require("fallback_step", fallback_step, "[0, inf)")
    parts = Parts(condition, initial_step, search, path, gate, fallback_step)
    require_parts(parts)
    _require_uphill(uphill, path)
    if memories is None:
        memories = trees.fresh(init_memories(parts, params))
    direction = descent_direction(direction, grad)
    origin = make_origin(params, grad, direction, value, lower_bound, metric)
    origin = on_path(origin, path)
    loss = scalar_value_fn(value_fn, origin.value.dtype)
    step = _TAKES[uphill](loss, origin, memories, parts, None)
    return LineSearchResult(
        step.outcome.applied.step_size,
        step.outcome.applied.value,
        optax.apply_updates(params, step.updates),
        step.outcome.num_trials + step.outcome.num_fallback_trials,
        step.outcome.accepted,
        step.memories,
        step.outcome.applied.grad,
    )
