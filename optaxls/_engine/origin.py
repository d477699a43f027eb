"""Computes what a search needs at the current params, before any trial."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import as_scalar, require_shared
from optaxls.parts.types import Metric, Origin, Params, Path


def turned_downhill(origin: Origin) -> tuple[Origin, jax.Array]:
    """Returns ``origin`` with a direction that climbs reversed, and its sign.

    The sign is -1 where the direction was reversed, else 1. A step of a positive size
    along the returned direction is one of the signed size along the given one.
    """
    sign = jnp.where(origin.slope > 0, -1, 1).astype(origin.slope.dtype)
    direction = trees.scale(sign, origin.direction)
    return origin._replace(direction=direction, slope=sign * origin.slope), sign


def make_origin(
    params: Any,
    grad: Any,
    direction: Any,
    value: Any,
    lower_bound: Any = None,
    metric: Metric | None = None,
) -> Origin:
    """Computes loss, slope and squared norms at the params; a ``value`` of None is 0.

    ``metric(params, displacement)`` is the squared length of a displacement at
    ``params``; None is the Euclidean one.
    """
    dtype = trees.scalar_dtype(params)
    arrived = jnp.result_type(0.0 if value is None else value)
    loss_eps = jnp.finfo(arrived if jnp.issubdtype(arrived, jnp.inexact) else dtype).eps
    value = as_scalar(0.0 if value is None else value, dtype)
    require_shared(value, params)
    # The trials use the reversed direction too: for -grad it is the gradient itself, so
    # no copy of it is made.
    ascent = trees.reverse(direction)

    def sqlength(displacement: Any) -> jax.Array:
        if metric is None:
            return trees.sqnorm(displacement, value.dtype)
        return jnp.asarray(metric(params, displacement), value.dtype)

    return Origin(
        params=params,
        grad=grad,
        direction=direction,
        value=value,
        slope=-trees.inner(grad, ascent, value.dtype),
        grad_sqnorm=trees.sqnorm(grad, value.dtype),
        direction_sqnorm=sqlength(ascent),
        value_rounding=4 * float(loss_eps) * jnp.abs(value),
        lower_bound=(None if lower_bound is None else as_scalar(lower_bound, dtype)),
    )


# Along a path with a prox the derivative is that of a step which moves the params by
# this share of their length. It is short, and longer than what rounding hides.
_RELATIVE_LENGTH = 1e-3


def _reference_step(origin: Origin, penalty: jax.Array) -> jax.Array:
    """A short step size, from the lengths of params, direction and penalty."""
    dtype = origin.value.dtype
    length = jnp.sqrt(trees.sqnorm(origin.params, dtype))
    length = jnp.where(length > 0, length, 1)
    # By Euler's formula the gradient of a norm has about the length h / ||w||.
    speed = jnp.sqrt(trees.sqnorm(origin.direction, dtype)) + jnp.abs(penalty) / length
    return _RELATIVE_LENGTH * length / jnp.where(speed > 0, speed, 1)


def _short_step(origin: Origin, path: Path, penalty: jax.Array) -> tuple[Any, Any, Any]:
    """Linear change, step size and updates of a short step along the path."""
    step_size = _reference_step(origin, penalty)
    at = origin._replace(
        params=trees.wide(origin.params), direction=trees.wide(origin.direction)
    )
    updates, change, _ = path.displace(at, step_size)
    return change, step_size, updates


def _reduced_grad(origin: Origin, path: Path, penalty: jax.Array) -> Params:
    """Minus the rate at which a short step against the gradient moves the params."""
    descent, scaling = trees.reverse(trees.conj(origin.grad)), origin.scaling
    if scaling is not None:
        descent = jax.tree.map(
            lambda d, s: d * s if trees.is_inexact(d) else d, descent, scaling
        )
    at = origin._replace(direction=descent)
    _, step_size, updates = _short_step(at, path, penalty)
    reduced = trees.scale(-1 / step_size, updates)
    if scaling is None:
        return reduced
    return jax.tree.map(
        lambda r, s: r / s if trees.is_inexact(r) else r, reduced, scaling
    )


def on_path(
    origin: Origin, path: Path, scaling: Callable[[], Params] | None = None
) -> Origin:
    """``origin`` with the penalty of the path in value and slope.

    ``scaling`` returns the diagonal of the preconditioner. On a path without a ``prox``
    it is ignored, and nothing changes.
    """
    prox = path.prox
    if prox is None:
        return origin
    if scaling is not None and not prox.separable:
        raise TypeError(
            "a preconditioned direction needs a penalty that is a sum over the "
            "coordinates: optaxls.prox.l1, l2, box or nonnegative"
        )
    penalty = prox.penalty(origin.params).astype(origin.value.dtype)
    require_shared(penalty, origin.params, "the penalty")
    eps = float(jnp.finfo(penalty.dtype).eps)
    origin = origin._replace(
        value=origin.value + penalty,
        value_rounding=origin.value_rounding + 4 * eps * jnp.abs(penalty),
        scaling=None if scaling is None else scaling(),
    )
    change, step_size, _ = _short_step(origin, path, penalty)
    # The projection of a direction that is not finite may be.
    slope = jnp.where(jnp.isfinite(origin.slope), change / step_size, origin.slope)
    reduced = _reduced_grad(origin, path, penalty)
    return origin._replace(slope=slope.astype(origin.slope.dtype), reduced_grad=reduced)
