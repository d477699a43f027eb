"""The boundary to the user's loss: aux, dtypes, missing arguments, rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls import _tree
from optaxls._types import Origin, ValueFn

_CALL = {
    "params": "params",
    "value": "value=loss",
    "grad": "grad=grads",
    "value_fn": "value_fn=lambda p: loss_fn(p, batch)",
    "grad_fn": "grad_fn=jax.grad(lambda p: loss_fn(p, batch))",
}


def require_arguments(rule: str, **arguments: Any) -> None:
    """Raises TypeError if an ``update`` argument is None: names it, rule and cure."""
    for name, argument in arguments.items():
        if argument is None:
            given = ", ".join(_CALL[key] for key in arguments if key != "params")
            raise TypeError(
                f"{rule}: update() needs {name!r}. Write "
                f"optimizer.update(grads, state, params, {given}), "
                "or let optaxls.make_step pass the arguments."
            )


_CURE = (
    "Wrappers that mask or flatten the updates (optax.masked, optax.partition, "
    "optax.flatten) leave value and value_fn whole: use optaxls.on_subset, or put the "
    "search outside of them."
)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def require_same_leaves(rule: str, updates: Any, **trees: Any) -> None:
    """Raises TypeError if ``updates`` are masked or have other leaves than the rest."""
    if any(map(_is_masked, jax.tree.leaves(updates, is_leaf=_is_masked))):
        raise TypeError(f"{rule}: the updates are masked. {_CURE}")
    expected = [jnp.shape(leaf) for leaf in _tree.inexact_leaves(updates)]
    for name, tree in trees.items():
        found = [jnp.shape(leaf) for leaf in _tree.inexact_leaves(tree)]
        if found != expected:
            raise TypeError(
                f"{rule}: updates and {name} must have the same leaves, got shapes "
                f"{expected} and {found}. {_CURE}"
            )


def hold_integers(updates: Any, params: Any) -> Any:
    """``updates`` with zeros for the leaves of ``params`` that cannot be trained.

    ``optax.scale(-1.0)`` makes floats of an integer leaf's zero gradient.
    """
    if jax.tree.structure(updates) != jax.tree.structure(params):
        return updates
    return jax.tree.map(
        lambda u, p: u if jnp.issubdtype(p.dtype, jnp.inexact) else jnp.zeros_like(p),
        updates,
        jax.tree.map(jnp.asarray, params),
    )


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
    leaves = _tree.inexact_leaves(params)
    widths = [float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in leaves]
    widest = max(widths, default=0.0)
    total = jnp.zeros((), value.dtype)
    for leaf, slope, eps in zip(
        leaves, _tree.inexact_leaves(grad), widths, strict=True
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


def make_origin(
    params: Any, grad: Any, direction: Any, value: Any, lower_bound: Any = None
) -> Origin:
    """Collects what is known before the trials; a missing ``value`` counts as 0."""
    dtype = _tree.scalar_dtype(params)
    arrived = jnp.result_type(0.0 if value is None else value)
    loss_eps = jnp.finfo(arrived if jnp.issubdtype(arrived, jnp.inexact) else dtype).eps
    value = as_scalar(0.0 if value is None else value, dtype)
    value_rounding = 4 * float(loss_eps) * jnp.abs(value)
    # Reversed, as the search uses it: of -grad that is the gradient itself.
    ascent = _tree.reverse(direction)
    return Origin(
        params=params,
        grad=grad,
        direction=direction,
        value=value,
        slope=-_tree.inner(grad, ascent, value.dtype),
        grad_sqnorm=_tree.sqnorm(grad, value.dtype),
        direction_sqnorm=_tree.sqnorm(ascent, value.dtype),
        rounding=rounding(params, grad, value, value_rounding),
        value_rounding=value_rounding,
        lower_bound=None if lower_bound is None else as_scalar(lower_bound, dtype),
    )
