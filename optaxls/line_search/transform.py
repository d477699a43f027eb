"""Step-size rules as optax transformations, and the search as a plain function."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _checks, _tree
from optaxls._types import (
    Condition,
    Gate,
    InitialStep,
    Memory,
    Origin,
    Outcome,
    Params,
    Path,
    Problem,
    Search,
    Trial,
    ValueFn,
    keep_memory,
    no_memory,
)
from optaxls.line_search import _step, _value_fn, conditions
from optaxls.line_search._engine import backtracking
from optaxls.line_search._paths import along_direction
from optaxls.line_search.gates import always


class LineSearchState(NamedTuple):
    """What a step left behind: scalars for the logger, memories for the parts.

    ``value`` is the loss before the step, ``trial_value`` the loss after it on the same
    batch where it was evaluated, else ``value``.
    """

    step_size: jax.Array
    num_trials: jax.Array
    accepted: jax.Array
    value: jax.Array
    slope: jax.Array
    trial_value: jax.Array
    condition: Memory
    initial_step: Memory
    gate: Memory


class LineSearchResult(NamedTuple):
    """The accepted trial, the number of trials, whether accepted, and the memories."""

    step_size: jax.Array
    value: jax.Array
    params: Params
    num_trials: jax.Array
    accepted: jax.Array
    memories: Any


def init_state(rules: _step.Rules, params: Params) -> LineSearchState:
    """Zeros of the final dtypes, so that a training loop compiles once."""
    zero = jnp.zeros((), _tree.scalar_dtype(params))
    memories = _step.init_memories(rules, params)
    none, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    state = LineSearchState(zero, none, no, zero, zero, zero, *memories)
    return _tree.fresh(state)


def step_transformation(
    value_fn: ValueFn, origin: Origin, state: LineSearchState, rules: _step.Rules
) -> tuple[Params, LineSearchState]:
    """One step, in the words of optax: updates and the next state, dtypes unchanged."""
    memories = _step.Memories(state.condition, state.initial_step, state.gate)
    step = _step.take_step(value_fn, origin, memories, rules)
    trial = step.outcome.trial
    new = LineSearchState(
        trial.step_size,
        step.outcome.num_trials,
        step.outcome.accepted,
        origin.value,
        origin.slope,
        trial.value,
        *step.memories,
    )
    return step.displacement.updates, _tree.cast_like(new, state)


def scale_by_line_search(
    condition: Condition,
    initial_step: InitialStep,
    search: Search = backtracking(),  # noqa: B008  (a pure function)
    *,
    path: Path = along_direction,
    gate: Gate = always(),  # noqa: B008
    fallback_step: float = 1e-6,
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
      ValueError: ``fallback_step`` lies outside its range. TypeError, from ``update``:
      an argument is missing.

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
    _checks.require("fallback_step", fallback_step, "[0, inf)")
    rules = _step.Rules(condition, initial_step, search, path, gate, fallback_step)

    def init(params: Params) -> LineSearchState:
        return init_state(rules, params)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        _value_fn.require_arguments(
            name, params=params, value=value, grad=grad, value_fn=value_fn
        )
        updates = _value_fn.hold_integers(updates, params)
        _value_fn.require_same_leaves(name, updates, params=params, grad=grad)
        origin = _value_fn.make_origin(
            params, grad, updates, value, extra.get("lower_bound")
        )
        loss = _value_fn.scalar_value_fn(value_fn, origin.value.dtype)
        return step_transformation(loss, origin, state, rules)

    return optax.GradientTransformationExtraArgs(init, update)


def _no_search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Outcome:
    """Zero trials: the proposal as it is."""
    del enabled
    origin = problem.origin
    zero = jnp.zeros_like(first_step)
    trial = Trial(first_step, origin.value, first_step * origin.slope, zero)
    return Outcome(trial, zero.astype(jnp.int32), zero > 0)


def _never() -> Gate:
    def should_search(memory: Memory, origin: Origin) -> jax.Array:
        del memory
        return jnp.zeros_like(origin.value, bool)

    return Gate(no_memory, should_search, keep_memory)


def scale_by_initial_step(
    initial_step: InitialStep, *, name: str = "scale_by_initial_step"
) -> optax.GradientTransformationExtraArgs:
    r"""Scales the incoming direction by the proposal of a rule, untested.

    :math:`w_+ = w + \eta d` with :math:`\eta` from ``initial_step``: Polyak steps,
    Barzilai-Borwein steps, a constant.

    Args:
      initial_step: the rule.
      name: the rule that error messages speak of.

    Returns:
      A transformation. ``update`` needs ``params`` and what the rule uses: ``value``
      for Polyak steps, ``grad`` for Barzilai-Borwein. Without ``grad`` the incoming
      updates are taken for the negative gradient. ``lower_bound=...`` overrules a
      Polyak rule's bound for this batch. Safety is that of ``scale_by_line_search``.

    State:
      ``LineSearchState`` with ``num_trials`` always 0.

    Raises:
      TypeError, from ``update``: an argument that the rule uses is missing.

    Cost:
      No loss evaluation; no copy of the params but what the rule remembers.

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
    rules = _step.Rules(
        conditions.always_accept(),
        initial_step,
        _no_search,
        along_direction,
        _never(),
        0,
    )

    def init(params: Params) -> LineSearchState:
        return init_state(rules, params)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        given = {"value": value, "grad": grad}
        used = {key: given[key] for key in initial_step.uses}
        _value_fn.require_arguments(name, params=params, **used)
        updates = _value_fn.hold_integers(updates, params)
        if initial_step.uses or grad is not None:
            trees = {"params": params} if grad is None else {"grad": grad}
            _value_fn.require_same_leaves(name, updates, **trees)
        if grad is None:
            grad = _tree.conj(jax.tree.map(jnp.negative, updates))
        origin = _value_fn.make_origin(
            params, grad, updates, value, extra.get("lower_bound")
        )
        return step_transformation(lambda params: origin.value, origin, state, rules)

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
    memories: Any = None,
) -> LineSearchResult:
    r"""The engine as a plain function, for use outside a transformation.

    Args:
      value_fn: params -> loss, or (loss, aux) whose aux is dropped.
      params: where to start.
      direction: what is *added*, like params.
      value: loss at params, scalar.
      grad: gradient at params, like params.
      condition, initial_step, search, path, gate, fallback_step: as in
        ``scale_by_line_search``.
      lower_bound: overrules a Polyak rule's bound, loss units.
      memories: those of the last call's result; None starts afresh.

    Returns:
      ``LineSearchResult``: step size, value and params of the accepted trial (of the
      fallback, with the last value seen, if none was), ``num_trials``, ``accepted``,
      ``memories``.

    Raises:
      ValueError: ``fallback_step`` lies outside its range.

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
    _checks.require("fallback_step", fallback_step, "[0, inf)")
    rules = _step.Rules(condition, initial_step, search, path, gate, fallback_step)
    if memories is None:
        memories = _tree.fresh(_step.init_memories(rules, params))
    origin = _value_fn.make_origin(params, grad, direction, value, lower_bound)
    loss = _value_fn.scalar_value_fn(value_fn, origin.value.dtype)
    step = _step.take_step(loss, origin, memories, rules)
    return LineSearchResult(
        step.outcome.trial.step_size,
        step.outcome.trial.value,
        optax.apply_updates(params, step.displacement.updates),
        step.outcome.num_trials,
        step.outcome.accepted,
        step.memories,
    )
