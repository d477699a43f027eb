"""Computes what a search needs at the current params, before any trial."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import as_scalar, require_shared
from optaxls.parts.types import Metric, Origin


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
