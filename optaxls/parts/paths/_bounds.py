"""Updates that keep params within bounds, bit by bit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Params

Bounds = Callable[[Params], Params]


def _ends(params: Params, updates: Params) -> Params:
    """The sum in float32 or wider: half precision may be added so."""
    return jax.tree.map(
        lambda p, u: p + u if trees.is_inexact(p) else p,
        trees.wide(params),
        trees.wide(updates),
    )


def _is_half(leaf: Any) -> bool:
    return trees.is_inexact(leaf) and jnp.finfo(jnp.result_type(leaf)).bits < 32


def _toward(place: jax.Array, end: jax.Array, number: jax.Array) -> jax.Array:
    """The neighbour of ``number`` in the direction from ``end`` to ``place``."""
    limit = jnp.where(place > end, jnp.inf, -jnp.inf).astype(number.dtype)
    # The neighbour has no derivative.
    neighbour = jnp.nextafter(jax.lax.stop_gradient(number), limit)
    return jnp.where(place == end, number, neighbour)


def _rounded_inwards(bounds: Bounds, params: Params, updates: Params) -> Params:
    """Updates to the nearest numbers inside that the dtypes of half precision have.

    A bound need not be such a number, and rounding to the nearest may go beyond it.
    """
    rounded = trees.cast_like(_ends(params, updates), params)
    ends = trees.wide(rounded)
    places = bounds(ends)
    nearest = trees.cast_like(places, params)
    nearest_inside = bounds(trees.wide(nearest))

    def leaf(p: Any, u: Any, end: Any, place: Any, near: Any, inside: Any) -> Any:
        if not _is_half(p) or jnp.iscomplexobj(p):
            return u
        near = _toward(inside, jnp.asarray(near, inside.dtype), near)
        onto = (jnp.asarray(near, end.dtype) - p).astype(u.dtype)
        return jnp.where(place == end, u, onto)

    return jax.tree.map(leaf, params, updates, ends, places, nearest, nearest_inside)


def nudged(bounds: Bounds, params: Params, updates: Params) -> Params:
    """``updates`` such that ``params + updates`` lies within bounds, bit by bit.

    The sum of p and the rounded difference b - p can be beyond b by a rounding error.
    The neighbour of the update in floating point is then taken.
    """
    params = jax.tree.map(jnp.asarray, params)
    half = any(map(_is_half, jax.tree.leaves(params)))
    if half:
        updates = _rounded_inwards(bounds, params, updates)
    ends = _ends(params, updates)
    places = bounds(ends)
    rounded, rounded_places = ends, places
    if half:
        rounded = trees.wide(trees.cast_like(ends, params))
        rounded_places = bounds(rounded)

    def leaf(update: Any, *sums: Any) -> Any:
        if not trees.is_inexact(update) or jnp.iscomplexobj(update):
            return update
        end, place, round_end, round_place = sums
        moved = _toward(place, end, update)
        if _is_half(update):
            moved = jnp.where(
                place == end, _toward(round_place, round_end, update), moved
            )
        # Its derivative is that of the update.
        return update + jax.lax.stop_gradient(moved - update)

    return jax.tree.map(leaf, updates, ends, places, rounded, rounded_places)
