"""What is known at the params before any trial."""

from typing import Any

import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import as_scalar, rounding
from optaxls.parts.types import Origin


def make_origin(
    params: Any, grad: Any, direction: Any, value: Any, lower_bound: Any = None
) -> Origin:
    """Collects what is known before the trials; a missing ``value`` counts as 0."""
    dtype = trees.scalar_dtype(params)
    arrived = jnp.result_type(0.0 if value is None else value)
    loss_eps = jnp.finfo(arrived if jnp.issubdtype(arrived, jnp.inexact) else dtype).eps
    value = as_scalar(0.0 if value is None else value, dtype)
    value_rounding = 4 * float(loss_eps) * jnp.abs(value)
    # Reversed, as the search uses it: of -grad that is the gradient itself.
    ascent = trees.reverse(direction)
    return Origin(
        params=params,
        grad=grad,
        direction=direction,
        value=value,
        slope=-trees.inner(grad, ascent, value.dtype),
        grad_sqnorm=trees.sqnorm(grad, value.dtype),
        direction_sqnorm=trees.sqnorm(ascent, value.dtype),
        rounding=rounding(params, grad, value, value_rounding),
        value_rounding=value_rounding,
        lower_bound=None if lower_bound is None else as_scalar(lower_bound, dtype),
    )
