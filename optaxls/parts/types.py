"""The types that parts, searches and transformations exchange.

Scalars are float32, or float64 with float64 params. Losses are in "loss units". A step
size multiplies a direction, and its unit makes the product a change of the params.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

# A tree of arrays: params, a gradient, a direction.
Params = Any
# What a part remembers: a tree of arrays whose structure and dtypes never change.
Memory = Any
# ``params -> loss`` or ``params -> (loss, aux)``.
ValueFn = Callable[[Params], Any]


def no_memory(params: Params) -> Memory:
    """The ``init`` of a part that remembers nothing."""
    del params
    return ()


class Origin(NamedTuple):
    """Loss, gradient and direction at the params ``w``, before any trial.

    Attributes:
      params: ``w``.
      grad: gradient of the loss at ``w``, like params.
      direction: what is *added* to ``w``, like params.
      value: loss at ``w``, scalar. Along a path with a ``prox`` its penalty is in it.
      slope: ``<grad, direction>``, scalar; negative for descent. Along a path with a
        ``prox``, the derivative of loss and penalty along the path.
      grad_sqnorm: ``||grad||^2``, scalar.
      direction_sqnorm: ``||direction||^2`` in the metric, scalar.
      lower_bound: lower bound of this batch's loss, or None if the caller gave none.
      value_rounding: rounding error from the summation of the loss, >= 0, in loss
        units. The error from the rounded params is not in it.
      scaling: the diagonal of a preconditioner, like params: ``direction`` is minus
        the gradient times it. None means 1. A path with a ``prox`` reads it.
      reduced_grad: on a path with a ``prox``, the gradient of loss and penalty on the
        free coordinates, like params; else None.
    """

    params: Params
    grad: Params
    direction: Params
    value: jax.Array
    slope: jax.Array
    grad_sqnorm: jax.Array
    direction_sqnorm: jax.Array
    lower_bound: jax.Array | None = None
    value_rounding: jax.Array | float = 0.0
    scaling: Params | None = None
    reduced_grad: Params | None = None


class Displacement(NamedTuple):
    """``w+ - w`` as a tree, ``<grad, w+ - w>`` and ``||w+ - w||^2``.

    A penalty of the path is linearised by its change: ``linear_change`` is then
    ``<grad, w+ - w> + h(w+) - h(w)``.
    """

    updates: Params
    linear_change: jax.Array
    sqdistance: jax.Array


class Trial(NamedTuple):
    """One candidate ``w+``: step size, loss, ``<grad, w+ - w>``, ``||w+ - w||^2``.

    All fields describe the same point. The loss is NaN where it was not evaluated.
    Where the condition has ``needs_slope``, ``slope`` is the derivative of the loss
    with respect to the step size, and ``grad`` the gradient at ``w+``. Else there is
    none.
    """

    step_size: jax.Array
    value: jax.Array
    linear_change: jax.Array
    sqdistance: jax.Array
    slope: jax.Array | None = None
    grad: Params = ()


class Verdict(NamedTuple):
    """What a condition says of a trial, in loss units; ``<= 0`` means satisfied.

    A trial that is too long is never taken. One that is too short, or beyond the
    minimum along the direction (``overshoots``), may be taken if the budget ends there.
    """

    too_long: jax.Array
    too_short: jax.Array | float = -float("inf")
    overshoots: jax.Array | float = -float("inf")


class Found(NamedTuple):
    """What a search returns.

    Attributes:
      step_size: of the accepted trial, or of the fallback step's. It is the first step
        where neither was made.
      value: the loss there; NaN where neither trial was made.
      end_step: the accepted step size, or the one that would have been tried next.
      takes: whether ``step_size`` may be taken.
      accepted: whether a trial passed the test.
      num_trials: int32, as a sequential search would count them.
      num_fallback_trials: 1 where the fallback step was evaluated besides, int32.
      grad: the gradient at ``step_size``, where trials have one; that of the origin
        where no trial was made.
    """

    step_size: jax.Array
    value: jax.Array
    end_step: jax.Array
    takes: jax.Array
    accepted: jax.Array
    num_trials: jax.Array
    num_fallback_trials: jax.Array
    grad: Params = ()


class Outcome(NamedTuple):
    """How a step ended.

    Attributes:
      trial: the accepted trial, or that of the fallback step. Without a search it is
        the proposal, with a value of NaN.
      applied: the step that is taken. It is ``trial`` after a success, the fallback
        step or a step of 0 after a failure.
      end_step: the step size at which the search ended, scalar: the accepted one, or
        the one that a failed search would have tried next.
      num_trials: trials of the search, int32, as a sequential search would count them.
      accepted: whether the step taken passed the test, or needed none.
      num_fallback_trials: 1 where the fallback step was evaluated besides, int32.
    """

    trial: Trial
    applied: Trial
    end_step: jax.Array
    num_trials: jax.Array
    accepted: jax.Array
    num_fallback_trials: jax.Array | int = 0


def keep_memory(
    memory: Memory, origin: Origin, outcome: Outcome | None = None
) -> Memory:
    """An ``observe`` or ``commit`` that changes nothing.

    Example:
      >>> import optaxls
      >>> optaxls.keep_memory(("as", "it", "was"), origin=None)
      ('as', 'it', 'was')
    """
    del origin, outcome
    return memory


class LineSearchState(NamedTuple):
    """What a step left behind: scalars for the logger, memories for the parts.

    ``step_size`` is negative where ``uphill="flip"`` searched the other side.
    ``value`` is the loss before the step. ``trial_value`` is the loss, on the same
    batch, at the end of the step of size ``step_size``. It is NaN where that loss was
    not evaluated, and ``value`` where no step was made. ``trial_grad`` is the gradient
    at the same point, if the condition has ``needs_slope``, else ().
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
    trial_grad: Params = ()


class Condition(NamedTuple):
    """Decides when a trial is good enough: four pure functions and a memory of arrays.

    ``observe`` runs once before the trials, also when no search is made. What it
    returns goes to the ``judge`` and ``commit`` of the same step. ``commit`` runs once
    after the trials and returns the memory of the next step. A batch whose loss or
    slope is not finite leaves the memory as it was.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> below_mean = optaxls.Condition(     # of the last five losses
      ...     init=lambda params: jnp.full(5, jnp.nan),
      ...     observe=lambda memory, origin: (
      ...         jnp.roll(memory, 1).at[0].set(origin.value)),
      ...     judge=lambda memory, origin, trial: optaxls.Verdict(
      ...         trial.value - jnp.maximum(jnp.nanmean(memory), origin.value)),
      ...     commit=optaxls.keep_memory)
      >>> rule = optaxls.scale_by_line_search(below_mean, optaxls.constant(1.0))

    The memory is made of arrays whose shapes and dtypes never change. Fields of a
    NamedTuple appear in ``metrics`` under their names. With ``needs_slope`` every trial
    evaluates the gradient too: the trials that ``judge`` gets have a ``slope``.
    """

    init: Callable[[Params], Memory]
    observe: Callable[[Memory, Origin], Memory]
    judge: Callable[[Memory, Origin, Trial], Verdict]
    commit: Callable[[Memory, Origin, Outcome], Memory]
    needs_slope: bool = False


class InitialStep(NamedTuple):
    """Proposes the step size to try first.

    ``uses`` names the ``update`` arguments that it reads. What ``observe`` returns goes
    to the ``propose`` and ``commit`` of the same step, so nothing is computed twice.
    """

    init: Callable[[Params], Memory]
    propose: Callable[[Memory, Origin], jax.Array]
    commit: Callable[[Memory, Origin, Outcome], Memory]
    uses: tuple[str, ...] = ("value",)
    observe: Callable[[Memory, Origin], Memory] = keep_memory


class Gate(NamedTuple):
    """Decides whether a step is searched, or its proposed size taken untested.

    What ``observe`` returns goes to the ``should_search`` and ``commit`` of the step.
    """

    init: Callable[[Params], Memory]
    should_search: Callable[[Memory, Origin], jax.Array]
    commit: Callable[[Memory, Origin, Outcome], Memory]
    observe: Callable[[Memory, Origin], Memory] = keep_memory


class Proximal(NamedTuple):
    """A penalty h on the params, by its proximal operator; one of ``optaxls.prox``.

    Attributes:
      prox: ``(params, step_size) -> params``, the smallest
        ``h(x) + ||x - params||^2 / (2 step_size)``. Where ``separable``, ``step_size``
        may also be a tree like params.
      penalty: ``params -> ()``, h, in loss units; 0 for a set.
      terms: ``params -> tree``, whose entries sum up to h. The change of h is computed
        from the change of each. None: from the change of the sum.
      domain: ``params -> params``, the projection onto the params whose h is finite.
        None if these are all.
      bounds: the same for bounds on single coordinates; None if there are none.
      is_set: whether h is 0 on its domain. ``prox`` is then ``domain``.
      separable: whether h is a sum over the coordinates.
    """

    prox: Callable[[Params, Any], Params]
    penalty: Callable[[Params], jax.Array]
    terms: Callable[[Params], Any] | None = None
    domain: Callable[[Params], Params] | None = None
    bounds: Callable[[Params], Params] | None = None
    is_set: bool = False
    separable: bool = False


class Path(NamedTuple):
    """How a step size becomes a displacement of the params.

    ``displace`` is called with positive step sizes only: the engine makes a step of 0.
    ``predicted_slope`` gives the change of the loss that the displacement promises, per
    unit of the step size. Where it is not negative, no step is made.

    With a ``prox`` the loss that is tested has its penalty in it. Params outside of its
    domain are first moved into that, by a step that is not searched.
    """

    displace: Callable[[Origin, jax.Array], Displacement]
    predicted_slope: Callable[[Origin, jax.Array], jax.Array]
    prox: Proximal | None = None


class Problem(NamedTuple):
    """The functions that a search calls to evaluate a step size and test a trial.

    ``judge`` has the numerical guards inside: a trial whose loss is not finite is too
    long, and differences within the rounding error are forgiven. ``fallback_step`` is
    tried after a search that spent its budget; 0 makes no such trial. ``grad`` is the
    gradient at the origin if trials have one, else ().
    """

    origin: Origin
    probe: Callable[[jax.Array], Trial]
    judge: Callable[[Trial], Verdict]
    fallback_step: Any
    grad: Params = ()


# ``(problem, first step size, whether to search) -> found``.
Search = Callable[[Problem, jax.Array, jax.Array], Found]
# ``(params, displacement) -> squared length of the displacement``, a scalar.
Metric = Callable[[Params, Params], jax.Array]
