"""The boundary to the user's loss: aux, dtypes, rounding, gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Params, ValueFn


def as_scalar(value: Any, dtype: Any) -> jax.Array:
    """A loss as a real scalar of ``dtype`` or wider; an aux is dropped."""
    if isinstance(value, tuple):
        value = value[0]
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"value must be a scalar, got an array of shape {value.shape}")
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"value must be real, got {value.dtype}")
    return value.astype(jnp.promote_types(value.dtype, dtype))


def scalar_value_fn(value_fn: ValueFn, dtype: Any) -> ValueFn:
    """``value_fn`` with its aux dropped (trials are what-ifs) and its dtype widened."""
    return lambda params: as_scalar(value_fn(params), dtype)


def _params_noise(params: Any, grad: Any, value: jax.Array) -> jax.Array:
    """``||eps * grad * params||``: what rounding the params does to the loss."""
    leaves = trees.inexact_leaves(params)
    widths = [float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in leaves]
    widest = max(widths, default=0.0)
    total = jnp.zeros((), value.dtype)
    for leaf, slope, eps in zip(
        leaves, trees.inexact_leaves(grad), widths, strict=True
    ):
        product = jnp.abs(leaf).astype(value.dtype) * jnp.abs(slope)
        # Relative to the widest: eps**2 itself would underflow in float32.
        total += (eps / widest) ** 2 * jnp.sum(product**2)
    return widest * jnp.sqrt(total)


def rounding(
    params: Any, grad: Any, value: jax.Array, value_rounding: jax.Array | float
) -> jax.Array:
    """The rounding error of a loss, which no rule should take for a difference.

    It has two parts: of the sum itself (4 eps |f|, in the dtype in which the loss
    arrived) and of the params that it is computed from (eps ||grad * params||, which
    rules near interpolation, where f vanishes and the params do not). It is capped by
    |f|: no more than a doubling is ever forgiven. Costs a pass over params and grad.
    """
    noise = value_rounding + _params_noise(params, grad, value)
    # An overflow knows nothing of rounding: it must not forgive an ascent.
    return jnp.where(jnp.isfinite(noise), jnp.minimum(noise, jnp.abs(value)), 0)


def value_and_grad(value_fn: Callable, params: Params, has_aux: bool) -> Any:
    """Value and gradient; integer leaves of the params are frozen, their gradient 0."""
    evaluate = jax.value_and_grad(value_fn, has_aux=has_aux, allow_int=True)
    value, grads = evaluate(params)

    def known(grad: Any, leaf: Any) -> Any:
        return jnp.zeros_like(leaf) if grad.dtype == jax.dtypes.float0 else grad

    return value, jax.tree.map(known, grads, params)
