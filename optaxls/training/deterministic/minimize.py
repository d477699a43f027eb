"""Minimises a loss that is the same at every step: the whole loop as one program."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arrays
from optaxls._core.loss import unknown_value
from optaxls._core.reports import known_value_and_grad, num_trials
from optaxls.parts.types import Params, ValueFn
from optaxls.training._update import Extra, further, require_extra, updated
from optaxls.training.deterministic._optimality import (
    Objective,
    evaluate,
    loss_and_grad,
    objective_of,
    optimality,
    penalty_at,
)
from optaxls.training.deterministic.result import (
    MinimizeHistory,
    MinimizeProgress,
    MinimizeResult,
    StopReason,
)

# Steps in a row without a finite loss or without any change of the params.
_MOST_IDLE = 3
# Steps in a row in which the loss changes by no more than its rounding error, and
# neither the loss nor the gradient falls below what it was.
_MOST_FLAT = 100


def _evaluated(
    objective: Objective, params: Params, known: tuple[Any, Any] | None, like: Any
) -> tuple[jax.Array, Params, Any]:
    """Returns loss, gradient and the number of evaluations for them, 0 or 1.

    ``known`` is what the search found. ``like`` has the dtypes of loss and gradient.
    """
    if known is None:
        return *evaluate(objective, params), 1
    missing = ~jnp.isfinite(known[0])

    # A loop of at most one round. Under vmap a branch would evaluate at every step.
    def evaluated(carry: Any) -> Any:
        return evaluate(objective, params), jnp.zeros_like(missing)

    start = trees.cast_like(known, like), missing
    found, _ = jax.lax.while_loop(lambda carry: carry[1], evaluated, start)
    return *found, missing.astype(jnp.int32)


def _start(
    objective: Objective, optimizer: Any, max_steps: int, begin: tuple[Params, Any]
) -> MinimizeProgress:
    params, opt_state = trees.fresh(begin[0]), begin[1]
    opt_state = optimizer.init(params) if opt_state is None else opt_state
    value, grad = evaluate(objective, params)
    largest = optimality(objective, params, grad, value.dtype)
    none = jnp.zeros((), jnp.int32)
    unknown = jnp.full(max_steps + 1, unknown_value(value))
    history = MinimizeHistory(
        unknown.at[0].set(value),
        unknown.at[0].set(largest),
        jnp.zeros(max_steps + 1, jnp.int32).at[0].set(1),
    )
    return MinimizeProgress(
        params,
        trees.fresh(opt_state),
        value,
        grad,
        largest,
        num_steps=none,
        num_evaluations=none + 1,
        num_idle=none,
        num_flat=none,
        least_value=value,
        least_optimality=largest,
        num_trials=none,
        history=history,
    )


def _is_finite(progress: MinimizeProgress) -> jax.Array:
    return jnp.isfinite(progress.value) & jnp.isfinite(progress.optimality)


def _changed(new: Params, old: Params) -> jax.Array:
    pairs = zip(trees.inexact_leaves(new), trees.inexact_leaves(old), strict=True)
    found = [jnp.any(a != b) for a, b in pairs]
    return functools.reduce(jnp.logical_or, found, jnp.zeros((), bool))


def _counted(old: MinimizeProgress, new: MinimizeProgress) -> MinimizeProgress:
    """``new`` with its counts of steps that led nowhere, and its entry in the history.

    Slow progress is no reason to stop: only what rounding hides is.
    """
    moves = _changed(new.params, old.params) & _is_finite(new)
    rounding = 8 * float(jnp.finfo(new.value.dtype).eps) * jnp.abs(old.least_value)
    lower = new.value < old.least_value
    lower |= new.optimality < old.least_optimality
    flat = ~lower & (new.value <= old.least_value + rounding)
    at, history = new.num_steps, old.history
    return new._replace(
        num_idle=jnp.where(moves, 0, old.num_idle + 1),
        num_flat=jnp.where(flat, old.num_flat + 1, 0),
        least_value=jnp.fmin(old.least_value, new.value),
        least_optimality=jnp.fmin(old.least_optimality, new.optimality),
        history=MinimizeHistory(
            history.value.at[at].set(new.value),
            history.optimality.at[at].set(new.optimality),
            history.num_evaluations.at[at].set(new.num_evaluations),
        ),
    )


def _advance(
    objective: Objective, optimizer: Any, progress: MinimizeProgress
) -> MinimizeProgress:
    """One step of the optimizer, and what is true at its end."""
    params, opt_state = updated(
        optimizer,
        progress.params,
        progress.opt_state,
        # The path of the optimizer adds the penalty itself.
        value=progress.value - penalty_at(objective, progress.params),
        grads=progress.grad,
        value_fn=objective.value_fn,
        grad_fn=lambda at, *_: loss_and_grad(objective.value_fn, at)[1],
        further=further("minimize", objective.extra, progress.params),
    )
    opt_state = trees.cast_like(opt_state, progress.opt_state)
    known, like = known_value_and_grad(opt_state), (progress.value, progress.grad)
    value, grad, extra = _evaluated(objective, params, known, like)
    trials = num_trials(opt_state)
    new = progress._replace(
        params=params,
        opt_state=opt_state,
        value=value,
        grad=grad,
        optimality=optimality(objective, params, grad, value.dtype),
        num_steps=progress.num_steps + 1,
        num_evaluations=progress.num_evaluations + extra + trials,
        num_trials=progress.num_trials + trials,
    )
    return _counted(progress, new)


def _goes_on(max_steps: int, tolerance: Any, progress: MinimizeProgress) -> jax.Array:
    useless = (progress.num_idle >= _MOST_IDLE) | (progress.num_flat >= _MOST_FLAT)
    # Not "above the tolerance", since a gradient of NaN is not.
    return (
        ~(progress.optimality <= tolerance)
        & ~useless
        & (progress.num_steps < max_steps)
    )


def _result(
    progress: MinimizeProgress, max_steps: int, tolerance: Any
) -> MinimizeResult:
    finite = _is_finite(progress)
    converged = finite & (progress.optimality <= tolerance)
    ends = jnp.where(
        progress.num_steps >= max_steps, StopReason.MAX_STEPS, StopReason.STALLED
    )
    ends = jnp.where(
        _goes_on(max_steps, tolerance, progress), StopReason.CALLBACK, ends
    )
    ends = jnp.where(finite, ends, StopReason.NOT_FINITE)
    return MinimizeResult(
        progress.params,
        progress.value,
        progress.num_steps,
        progress.num_evaluations,
        converged,
        progress.history,
        progress.optimality,
        jnp.where(converged, StopReason.CONVERGED, ends).astype(jnp.int32),
        progress.opt_state,
        progress.num_trials,
    )


def _run(
    objective: Objective, optimizer: Any, max_steps: int, begin: tuple, tolerance: Any
) -> MinimizeResult:
    end = jax.lax.while_loop(
        functools.partial(_goes_on, max_steps, tolerance),
        functools.partial(_advance, objective, optimizer),
        _start(objective, optimizer, max_steps, begin),
    )
    return _result(end, max_steps, tolerance)


def _is_traced(params: Params) -> bool:
    """Whether this is a part of a larger program. Then ``value_fn`` may hold tracers,
    and must not be kept."""
    leaves = jax.tree.leaves(params)
    return any(isinstance(leaf, Tracer) for leaf in [jnp.zeros(()), *leaves])


# A few programs are kept, so that a second call with the same functions compiles none.
@functools.lru_cache(maxsize=8)
def _compiled(
    value_fn: ValueFn, optimizer: Any, max_steps: int, extra: Extra | None
) -> Callable:
    optimizer = optax.with_extra_args_support(optimizer)

    def run(begin: tuple[Params, Any], tolerance: Any) -> MinimizeResult:
        objective = objective_of(value_fn, optimizer, begin[0], extra)
        return _run(objective, optimizer, max_steps, begin, tolerance)

    return jax.jit(run)


def _run_with_callback(
    objective: Objective,
    optimizer: Any,
    max_steps: int,
    begin: tuple[Params, Any],
    tolerance: Any,
    callback: Callable[[MinimizeProgress], Any],
) -> MinimizeResult:
    start = jax.jit(functools.partial(_start, objective, optimizer, max_steps))
    advance = jax.jit(functools.partial(_advance, objective, optimizer))
    progress = start(begin)
    while _goes_on(max_steps, tolerance, progress):
        progress = advance(progress)
        if callback(progress):
            break
    return _result(progress, max_steps, tolerance)


def minimize(
    value_fn: ValueFn,
    params: Params,
    optimizer: optax.GradientTransformation,
    *,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    callback: Callable[[MinimizeProgress], Any] | None = None,
    opt_state: Any = None,
    extra: Extra | None = None,
) -> MinimizeResult:
    r"""Minimises a loss that is the same at every step, with any optimizer.

    The loop is one ``lax.while_loop``. It stops as soon as no entry of the gradient is
    above the tolerance: :math:`\max_j |\nabla f(w)_j| \le` ``tolerance``. It also stops
    after ``max_steps`` steps, and where further steps are useless: ``stop_reason`` says
    which. Steps are useless if three in a row leave the params as they are, or give no
    finite loss. They are too if the loss moves within its rounding error for a hundred
    steps, and neither it nor the gradient gets smaller.

    If the optimizer moves along a path with a ``prox`` (``fista``, ``prox_sgd``),
    ``value_fn`` is the loss without the penalty h. Then :math:`f + h` is minimised and
    reported. The gradient's place is taken by the residual
    :math:`w - \operatorname{prox}_h(w - \nabla f(w))`, which is 0 at a minimum.

    Args:
      value_fn: params -> loss, or (loss, aux) whose aux is dropped. It must be pure.
      params: where to start.
      optimizer: any optimizer of optax, such as ``lbfgs()``.
      max_steps: >= 1, steps of the optimizer.
      tolerance: >= 0, in units of the gradient: loss units over those of the params.
      callback: called with a ``MinimizeProgress`` after each step, and stops the loop
        if it returns True. The loop is then a Python loop around a compiled step.
      opt_state: the state of the optimizer to begin with, such as that of an earlier
        result; by default that of ``optimizer.init``.
      extra: ``params -> dict`` of further ``update`` arguments, as for ``make_step``:
        ``predict_fn`` for Gauss-Newton products, ``lower_bound`` for Polyak steps.

    Returns:
      ``MinimizeResult``. Where an optimizer evaluates other params than it trains, get
      them by ``eval_params(result.opt_state, result.params)``.

    Raises:
      ValueError: ``max_steps`` or ``tolerance`` lies outside its range, or ``extra``
      returns what ``minimize`` passes itself.
      TypeError: an argument is of another kind, or ``callback`` is given inside ``jit``
      or another transformation.

    Cost:
      One evaluation of loss and gradient at the start. Then one per trial of
      ``lbfgs()``, whose gradients are used again. With other optimizers it is one per
      step and what their trials need. Evaluations inside a direction are not counted:
      Hessian products, and the second gradients of ``stochastic_lbfgs``. It holds three
      numbers per step of ``max_steps``. The last eight triples of ``value_fn``,
      ``optimizer`` and ``extra`` stay compiled. For data that changes, or is large, jit
      a function of the data that calls ``minimize``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> def rosenbrock(w):
      ...     return (1 - w[0])**2 + 100 * (w[1] - w[0]**2)**2
      >>> result = optaxls.minimize(
      ...     rosenbrock, jnp.array([-1.2, 1.0]), optaxls.lbfgs(), tolerance=1e-3)
      >>> bool(result.converged), bool(jnp.allclose(result.params, 1.0, atol=1e-2))
      (True, True)

    Reference:
      No publication; defined here. The test is that of Nocedal and Wright 2006,
      Algorithm 7.5, in the largest entry.
    """
    checks.require_integer("max_steps", max_steps, 1)
    checks.require("tolerance", tolerance, "[0, inf)")
    checks.require_function("value_fn", value_fn, "make_step's loss_fn")
    if not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be an optax optimizer, got {optimizer!r}")
    require_extra(extra)
    require_arrays("minimize", params)
    traced, begin = _is_traced(params), (params, opt_state)
    hashable = isinstance(value_fn, Hashable) and isinstance(extra, Hashable)
    if callback is None and not traced and hashable:
        return _compiled(value_fn, optimizer, max_steps, extra)(begin, tolerance)
    optimizer = optax.with_extra_args_support(optimizer)
    objective = objective_of(value_fn, optimizer, params, extra)
    if callback is None:
        return _run(objective, optimizer, max_steps, begin, tolerance)
    if traced:
        raise TypeError(
            "minimize: a callback cannot be called inside jit or another transformation"
        )
    return _run_with_callback(
        objective, optimizer, max_steps, begin, tolerance, callback
    )
