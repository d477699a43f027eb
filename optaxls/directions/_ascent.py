"""Tells whether a direction points uphill, as gradients do, or downhill already."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import hold_integers

_NUM_PROBES = 3
_MOST_ENTRIES = 1_000_000
_CURE = (
    "{name}: direction goes downhill already. It is a whole optimizer, such as "
    "optax.adam(1e-3), where a direction to be descended along is wanted: pass "
    "optax.scale_by_adam(), or optax.chain(direction, optax.scale(-1.0))."
)


def _cosine(direction: Any, grad: Any) -> jax.Array:
    """The cosine of the angle to the gradient; 0 where the direction is 0."""
    conjugate = trees.conj(direction)
    dtype = trees.scalar_dtype(grad)
    lengths = trees.sqnorm(direction, dtype) * trees.sqnorm(grad, dtype)
    product = trees.inner(conjugate, grad, dtype)
    return product / jnp.sqrt(jnp.where(lengths > 0, lengths, 1))


def _ones(tree: Any) -> Any:
    """A tree of ones, whose numbers are known also where jit traces ``tree``."""

    def leaf_ones(leaf: Any) -> Any:
        return jnp.ones_like(leaf) if trees.is_inexact(leaf) else jnp.zeros_like(leaf)

    return jax.tree.map(leaf_ones, tree)


def _probe(direction: optax.GradientTransformation, params: Any) -> float:
    """The cosine with a gradient of ones, at the first step that is not 0, else 0."""
    update = optax.with_extra_args_support(direction).update
    params = grad = _ones(params)
    value_fn = lambda at: trees.inner(at, grad, trees.scalar_dtype(grad))  # noqa: E731
    given = {"value": value_fn(params), "grad": grad, "value_fn": value_fn}
    state = direction.init(params)
    for _ in range(_NUM_PROBES):
        # A schedule that warms up makes steps of 0 at first, which tell no sign.
        found, state = update(grad, state, params, **given)
        cosine = float(_cosine(hold_integers(found, params), grad))
        if cosine != 0:
            return cosine
    return 0.0


def require_ascent(
    name: str, direction: optax.GradientTransformation, params: Any
) -> bool:
    """Raises ValueError if ``direction`` descends; returns whether it could be told.

    The direction is tried on ones like ``params``, with a gradient of ones. Noise in it
    is not taken for a sign. False is returned, and nothing raised, where it cannot be
    tried: it needs other params or arguments, or it depends on what jit traces. Params
    of many entries are not tried either, since that would cost too much.
    """
    if sum(jnp.size(leaf) for leaf in jax.tree.leaves(params)) > _MOST_ENTRIES:
        return False
    try:
        # Under jit too the numbers must be computed now, for an error to be raised.
        with jax.ensure_compile_time_eval():
            cosine = _probe(direction, params)
    except Exception:  # A direction may raise whatever it likes.
        return False
    if cosine < -0.5:
        raise ValueError(_CURE.format(name=name))
    return abs(cosine) > 0.5


def checked_direction(
    name: str, direction: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Returns ``direction``, or raises ValueError if it descends already.

    At construction the direction is tried on a vector. Where that decides nothing, such
    as for labels or masks of a tree, ``init`` tries it on a tree like the params.
    """
    # Enough entries that noise averages out.
    if require_ascent(name, direction, {"w": jnp.ones(64)}):
        return direction

    def init(params: Any) -> Any:
        require_ascent(name, direction, params)
        return direction.init(params)

    update = optax.with_extra_args_support(direction).update
    return optax.GradientTransformationExtraArgs(init, update)
