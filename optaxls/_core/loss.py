"""Calls of the user's loss: its aux, dtype, rounding error and derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees

Params = Any
ValueFn = Callable[[Params], Any]


def as_scalar(value: Any, dtype: Any, name: str = "value") -> jax.Array:
    """Converts a loss to a real scalar of ``dtype`` or wider, and drops its aux.

    ``name`` is what the errors call it: the argument that held or returned the value.
    """
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        value = jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a scalar, got {_kind(value)}. {_RETURN}"
        ) from None
    if value.shape != ():
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {value.shape}. {_RETURN}"
        )
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {value.dtype}")
    return value.astype(jnp.promote_types(value.dtype, dtype))


def _mesh_axes(array: Any) -> frozenset:
    """Returns the mesh axes over which an array differs, inside ``jax.shard_map``."""
    kind = jax.typeof(array)
    # Older versions of JAX call the attribute vma.
    if hasattr(kind, "manual_axis_type"):
        return frozenset(kind.manual_axis_type.varying)
    return frozenset(getattr(kind, "vma", ()))


def require_shared(value: Any, params: Params, name: str = "value") -> None:
    """Raises TypeError if a loss differs between devices whose params are equal.

    Devices would then choose different step sizes, and their params would drift apart.
    """
    own = [_mesh_axes(leaf) for leaf in jax.tree.leaves(params)]
    axes = sorted(_mesh_axes(value).difference(*own))
    if axes:
        over = axes[0] if len(axes) == 1 else tuple(axes)
        raise TypeError(
            f"{name} differs between the devices along the mesh axis {over!r}, and the "
            "params do not. Inside shard_map return the mean over all devices: "
            f"jax.lax.pmean(loss, {over!r})."
        )


_RETURN = (
    "Return the loss of the batch as a scalar, such as jnp.mean(losses), or a tuple "
    "(loss, aux) with all else in aux."
)


def _kind(value: Any) -> str:
    """Describes, for an error message, a value that is no array."""
    if isinstance(value, dict):
        return f"a dict with the keys {list(value)}"
    return f"a value of type {type(value).__name__}"


def scalar_value_fn(value_fn: ValueFn, dtype: Any) -> ValueFn:
    """Wraps a loss so that it returns a scalar of ``dtype`` or wider, without aux.

    The aux of a trial is dropped because the trial may be rejected.
    """
    return lambda params: as_scalar(value_fn(params), dtype, "what value_fn returns")


def unknown_value(value: jax.Array) -> jax.Array:
    """Returns NaN, the value of a loss that was not evaluated.

    Under ``jax_debug_nans`` every NaN is an error, so ``value`` is returned there.
    """
    return value if jax.debug_nans.value else jnp.full_like(value, jnp.nan)


def _params_noise(params: Any, grad: Any, value: jax.Array) -> jax.Array:
    """Returns ``||eps * grad * params||``, the change of a loss by rounded params."""
    leaves = trees.inexact_leaves(params)
    widths = [float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in leaves]
    widest = max(widths, default=0.0)
    total = jnp.zeros((), value.dtype)
    for leaf, slope, eps in zip(
        leaves, trees.inexact_leaves(grad), widths, strict=True
    ):
        product = jnp.abs(leaf).astype(value.dtype) * jnp.abs(slope)
        # Relative to the largest eps, because eps**2 could underflow in float32.
        total += (eps / widest) ** 2 * jnp.sum(product**2)
    return widest * jnp.sqrt(total)


def rounding(
    params: Any, grad: Any, value: jax.Array, value_rounding: jax.Array | float
) -> jax.Array:
    """Estimates the rounding error of a loss, in loss units.

    Two losses that differ by less are not distinguishable. The error has two parts.
    The summation of the loss contributes ``value_rounding``, which is 4 eps |f| in the
    dtype in which the loss arrived. The rounded params contribute
    eps ||grad * params||. That part is the larger one near interpolation, where f
    vanishes and the params do not. The sum is at most |f|, so that a loss that more
    than doubles always counts as an increase. It costs a pass over params and grad.
    """
    noise = value_rounding + _params_noise(params, grad, value)
    # An overflow is no estimate: an infinite error would accept every ascent.
    return jnp.where(jnp.isfinite(noise), jnp.minimum(noise, jnp.abs(value)), 0)


def _checked(loss_fn: Callable, has_aux: bool) -> Callable:
    """Wraps ``loss_fn`` so that a result that is no scalar raises an error."""

    def evaluate(params: Params) -> Any:
        found = loss_fn(params)
        if isinstance(found, tuple) != has_aux or (has_aux and len(found) != 2):
            wanted = "(loss, aux)" if has_aux else "the loss alone"
            raise TypeError(
                f"with has_aux={has_aux} loss_fn must return {wanted}, got "
                f"{_kind(found)}. Pass has_aux=True to make_step where loss_fn returns "
                "(loss, aux), has_aux=False where it returns the loss."
            )
        loss, *aux = found if has_aux else (found,)
        as_scalar(loss, jnp.float32, "what loss_fn returns")
        require_shared(loss, params, "what loss_fn returns")
        return (loss, *aux) if has_aux else loss

    return evaluate


def value_and_grad(value_fn: Callable, params: Params, has_aux: bool) -> Any:
    """Returns the loss and its gradient, which is 0 for integer leaves."""
    evaluate = jax.value_and_grad(
        _checked(value_fn, has_aux), has_aux=has_aux, allow_int=True
    )
    value, grads = evaluate(params)

    def known(grad: Any, leaf: Any) -> Any:
        return jnp.zeros_like(leaf) if grad.dtype == jax.dtypes.float0 else grad

    return value, jax.tree.map(known, grads, params)


def grad_of(value_fn: ValueFn) -> Callable[[Params], Params]:
    """Returns the function ``params -> gradient`` of a loss, without its aux.

    The gradient is 0 for integer leaves. For complex params it is JAX's gradient, which
    is the conjugate of the ascent direction.
    """

    def loss(params: Params) -> Any:
        return as_scalar(value_fn(params), trees.scalar_dtype(params), "value_fn")

    return lambda params: value_and_grad(loss, params, False)[1]
