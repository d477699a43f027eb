"""The Hessian that the pairs of L-BFGS imply, as a product with vectors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.directions.curvature import _pairs
from optaxls.parts.types import Params


class _Terms(NamedTuple):
    """``B = factor I + sum_i (plus_i plus_i' - minus_i minus_i')``, ``factor`` > 0.

    ``curvatures`` has an entry for each pair.
    """

    factor: jax.Array
    curvatures: jax.Array
    plus: Params
    minus: Params


def _products(rows: Params, vector: Params, like: jax.Array) -> jax.Array:
    """The inner product of each row with the vector, in the shape of ``like``."""

    def along(row: Params) -> jax.Array:
        return _pairs.product(row, vector, like.dtype)

    return jax.vmap(along, axis_size=like.size)(rows)


def _combined(vector: Params, weights: jax.Array, rows: Params) -> Params:
    """``vector`` and the rows, each times its weight."""

    def leaf(v: Any, stack: Any) -> Any:
        if not trees.is_inexact(v):
            return v
        return v + jnp.tensordot(weights.astype(stack.dtype), stack, 1)

    return jax.tree.map(leaf, vector, rows)


def _times(terms: _Terms, vector: Params) -> Params:
    like = terms.curvatures
    found = trees.scale(terms.factor, vector)
    found = _combined(found, _products(terms.plus, vector, like), terms.plus)
    return _combined(found, -_products(terms.minus, vector, like), terms.minus)


def _inverse_root(square: jax.Array) -> jax.Array:
    exists = square > 0
    return jnp.where(exists, jax.lax.rsqrt(jnp.where(exists, square, 1)), 0)


# A function of the module: an eager scan over a new closure compiles at every step.
def _with_pair(
    carry: tuple[_Terms, _pairs.PairsState], place: jax.Array
) -> tuple[tuple[_Terms, _pairs.PairsState], None]:
    terms, state = carry
    root = _inverse_root(_pairs.at(state.curvatures, place))
    displacement = _pairs.at(state.displacements, place)
    bent = _times(terms, displacement)
    square = _pairs.product(displacement, bent, root.dtype)
    # A pair that is absent, or lost to rounding, adds nothing.
    root = jnp.where(square > 0, root, 0)
    other = jnp.where(root > 0, _inverse_root(square), 0)

    def put(rows: Params, entry: Params) -> Params:
        return jax.tree.map(
            lambda stack, leaf: jax.lax.dynamic_update_index_in_dim(
                stack, leaf.astype(stack.dtype), place, 0
            ),
            rows,
            entry,
        )

    plus = put(terms.plus, trees.scale(root, _pairs.at(state.changes, place)))
    minus = put(terms.minus, trees.scale(other, bent))
    return (terms._replace(plus=plus, minus=minus), state), None


def hessian_of(
    state: _pairs.PairsState, grads: Params
) -> tuple[Callable[[Params], Params], jax.Array]:
    """The product with the Hessian of the pairs, and the scale of its inverse.

    It is that whose inverse ``times_inverse_hessian`` multiplies by, unrolled into a
    sum of outer products. That costs ``memory_size`` squared passes over a vector once,
    and four for each pair in a product.
    """
    scale = _pairs.scale_of(state, grads)
    nothing = jax.tree.map(jnp.zeros_like, state.displacements)
    start = _Terms(1 / scale, state.curvatures, nothing, nothing)
    latest = _pairs.latest_first(state)
    (terms, _), _ = jax.lax.scan(_with_pair, (start, state), latest, reverse=True)
    return lambda vector: _times(terms, vector), scale
