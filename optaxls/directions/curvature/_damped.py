"""The gradient, divided by a damped curvature: with and without the step's outcome."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arguments
from optaxls.directions.curvature._products import (
    Product,
    filled,
    gauss_newton_product,
    hessian_product,
    real_leaves,
)
from optaxls.directions.curvature._solvers import Solve
from optaxls.directions.curvature.damping import Damping
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Memory, Params


class CurvatureReport(NamedTuple):
    """What the last step met: scalars, which ``metrics`` shows.

    ``curvature`` is ``d^T B d`` of the direction d, without the damping.
    """

    damping: jax.Array
    curvature: jax.Array
    num_products: jax.Array
    negative_curvature: jax.Array


class CurvatureState(NamedTuple):
    """What the damping remembers, and the report of the last step."""

    memory: Memory
    report: CurvatureReport


class ScheduledDampingMemory(NamedTuple):
    """The number of steps on batches whose gradient was finite, int32."""

    num_steps: jax.Array


def _keep(memory: Memory, ratio: jax.Array) -> Memory:
    del ratio
    return memory


def as_damping(damping: Any) -> Damping:
    """Makes a ``Damping`` of a number or a schedule."""
    if isinstance(damping, Damping):
        return damping
    if callable(damping):
        return Damping(
            lambda dtype: ScheduledDampingMemory(jnp.zeros((), jnp.int32)),
            lambda memory: jnp.asarray(damping(memory.num_steps)),
            lambda memory, ratio: ScheduledDampingMemory(
                trees.one_more(memory.num_steps)
            ),
        )
    checks.require("damping", damping, "[0, inf)")
    return Damping(lambda dtype: (), lambda memory: damping, _keep)


def _product(name: str, params: Params, dtype: Any, given: dict[str, Any]) -> Product:
    """Products with the Hessian, or with the Gauss-Newton matrix where it is given."""
    own, predict_fn, prediction_loss_fn = map(
        given.get, ("curvature_value_fn", "predict_fn", "prediction_loss_fn")
    )
    if own is not None:
        return hessian_product(own, params, dtype)
    if predict_fn is None and prediction_loss_fn is None:
        require_arguments(name, value_fn=given.get("value_fn"))
        return hessian_product(given["value_fn"], params, dtype)
    require_arguments(
        name, predict_fn=predict_fn, prediction_loss_fn=prediction_loss_fn
    )
    assert predict_fn is not None and prediction_loss_fn is not None
    return gauss_newton_product(predict_fn, prediction_loss_fn, params, dtype)


def _init(damping: Damping) -> Callable[..., CurvatureState]:
    def init(params: Any) -> CurvatureState:
        dtype = trees.scalar_dtype(params)
        zero, none, no = (jnp.zeros((), kind) for kind in (dtype, jnp.int32, bool))
        report = CurvatureReport(zero, zero, none, no)
        return trees.fresh(CurvatureState(damping.init(dtype), report))

    return init


def _ascent(
    name: str, solve: Solve, damping: Damping, updates: Params, state: Any,
    params: Any, given: dict[str, Any],
) -> tuple[Params, CurvatureReport]:  # fmt: skip
    """The gradient, divided by the curvature, and the report of it."""
    require_arguments(name, params=params)
    dtype = trees.scalar_dtype(params)
    tau = jnp.asarray(damping.propose(state.memory), dtype)
    grad = real_leaves(updates, dtype)
    if not grad:
        return updates, state.report._replace(damping=tau)
    leaves = trees.inexact_leaves(params)
    eps = [float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in leaves]
    found = solve(_product(name, params, dtype, given), grad, tau, eps)
    size = trees.sqnorm(found.direction, dtype)
    finite = jnp.isfinite(size) & jnp.isfinite(found.curvature)
    report = CurvatureReport(
        tau,
        jnp.where(finite, found.curvature, 0),
        found.num_products,
        found.negative_curvature & finite,
    )
    direction = filled(updates, trees.zero_unless(finite, found.direction))
    return direction, trees.cast_like(report, state.report)


def damped(
    name: str, solve: Solve, damping: Any
) -> optax.GradientTransformationExtraArgs:
    """The transformation of gradients, whose damping is a number or a schedule."""
    if isinstance(damping, Damping):
        raise TypeError(
            f"{name}: damping must be a number or a schedule, got {damping!r}. What "
            "learns from the step taken belongs into optaxls.newton(damping=...) or "
            "optaxls.hessian_free(damping=...), which hold the search."
        )
    kind = as_damping(damping)

    def update(
        updates: Params, state: Any, params: Any = None, **given: Any
    ) -> tuple[Params, Any]:
        require_arguments(name, params=params)
        finite = jnp.isfinite(trees.sqnorm(updates, trees.scalar_dtype(params)))
        direction, report = _ascent(name, solve, kind, updates, state, params, given)
        memory = kind.commit(state.memory, jnp.full_like(report.damping, jnp.nan))
        memory = trees.select(finite, memory, state.memory)
        return direction, CurvatureState(memory, report)

    return optax.GradientTransformationExtraArgs(_init(kind), update)


def _ratio(report: Any, curvature: jax.Array, given_value: Any) -> jax.Array:
    """The change of the loss, divided by the one that the model foretold.

    A loss that arrived in half precision has the rounding error of that.
    """
    step_size, value = report.step_size, report.value
    foretold = step_size * (report.slope + step_size / 2 * curvature)
    kinds = (jnp.result_type(one) for one in (value, given_value))
    eps = max(jnp.finfo(jnp.promote_types(kind, jnp.float16)).eps for kind in kinds)
    known = (foretold < -8 * eps * jnp.abs(value)) & jnp.isfinite(report.trial_value)
    ratio = (report.trial_value - value) / jnp.where(known, foretold, -1)
    failed = ~report.accepted & (report.num_trials > 0)
    return jnp.where(failed, -jnp.inf, jnp.where(known, ratio, jnp.nan))


def damped_pair(name: str, solve: Solve, damping: Any) -> DirectionPair:
    """The same as a pair, with its sign, whose damping learns from the step taken."""
    kind = as_damping(damping)

    def update(
        updates: Params, state: Any, params: Any = None, **given: Any
    ) -> tuple[Directions, Any]:
        ascent, report = _ascent(name, solve, kind, updates, state, params, given)
        found = trees.reverse(ascent)
        return Directions(found, found), state._replace(report=report)

    def tell(
        state: Any, displacement: Params, report: Any, params: Params, **given: Any
    ) -> Any:
        del displacement, params
        finite = jnp.isfinite(report.value) & jnp.isfinite(report.slope)
        memory = kind.commit(
            state.memory, _ratio(report, state.report.curvature, given["value"])
        )
        return state._replace(memory=trees.select(finite, memory, state.memory))

    return DirectionPair(_init(kind), update, tell)
