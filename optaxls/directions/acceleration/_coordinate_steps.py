"""A step size for each coordinate, cut down by hypergradients."""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import scalar_value_fn, value_and_grad
from optaxls._core.robust import shortest
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class CoordinateStepsState(NamedTuple):
    """The ellipsoid in which the best step sizes are looked for.

    ``square_axes`` has the squared lengths of its axes, one for each coordinate, in
    float32 or wider.
    """

    square_axes: Params
    num_cuts: jax.Array


class _Tried(NamedTuple):
    before: CoordinateStepsState
    grads: Params
    step_sizes: Params


def _squares(tree: Params, dtype: Any) -> Params:
    """The squared absolute values, in ``dtype``; 0 for integer leaves."""

    def leaf(w: Any) -> jax.Array:
        if not trees.is_inexact(w):
            return jnp.zeros_like(w)
        return (jnp.abs(w).astype(dtype)) ** 2

    return jax.tree.map(leaf, tree)


def _total(dtype: Any, *factors: Params) -> jax.Array:
    """The sum over all coordinates of the products of real trees."""
    zero = jnp.zeros((), dtype)
    products = [
        jnp.sum(functools.reduce(operator.mul, leaves), dtype=dtype)
        for leaves in zip(*map(trees.inexact_leaves, factors), strict=True)
    ]
    return sum(products, zero)


def _size(tree: Params) -> int:
    return max(sum(leaf.size for leaf in trees.inexact_leaves(tree)), 1)


def _map(function: Any, first: Params, *others: Params) -> Params:
    """``function`` of the trained leaves; the others are those of ``first``."""
    return jax.tree.map(
        lambda leaf, *more: function(leaf, *more) if trees.is_inexact(leaf) else leaf,
        first,
        *others,
    )


def _aligned(state: CoordinateStepsState, squares: Params, dtype: Any) -> Params:
    """The step sizes of the ellipsoid that promise most, cut by sqrt(2 d).

    They maximise ``sum p g^2``, and their size does not depend on that of g.
    """
    largest = _largest(squares, dtype)
    unit = _map(lambda q: q / jnp.where(largest > 0, largest, 1), squares)
    norm = jnp.sqrt(_total(dtype, state.square_axes, unit, unit))
    share = 1 / jnp.where(norm > 0, norm, 1) / (2 * _size(squares)) ** 0.5
    return _map(lambda s, q: share * s * q, state.square_axes, unit)


def _largest(tree: Params, dtype: Any) -> jax.Array:
    """The largest entry of a tree of numbers >= 0."""
    zero = jnp.zeros((), dtype)
    for leaf in trees.inexact_leaves(tree):
        zero = jnp.maximum(zero, jnp.max(leaf, initial=0))
    return zero


def _cut(
    state: CoordinateStepsState, slopes: Params, step_sizes: Params, known: jax.Array
) -> CoordinateStepsState:
    """The least ellipsoid around what the rejected step sizes do not exclude.

    ``slopes`` are the derivatives of the missing decrease by the step sizes, and
    ``known`` is ``<slopes, step_sizes>`` minus the missing decrease. As that is convex
    in the step sizes, those with ``<slopes, q> > known`` miss it too. Where a slope is
    negative, a larger step size might help; such coordinates are not cut.
    """
    dtype, size = known.dtype, _size(step_sizes)
    rising = _map(lambda h: jnp.maximum(h, 0), slopes)
    most = _total(dtype, rising, step_sizes)
    # Of a loss that is not convex the cut goes through the rejected point.
    scale = 1 / jnp.clip(known, 1e-6 * most, most)
    normal = _map(lambda h: scale * h, rising)
    width = _total(dtype, normal, normal, state.square_axes)
    share = (width / size) * (size - 1) / (width - 1)
    least = shortest(dtype) ** 2
    axes = _map(
        lambda s, u: jnp.maximum(1 / (share / s + (1 - share) * u**2), least),
        state.square_axes,
        normal,
    )
    usable = jnp.isfinite(width) & (width > 1) & (most > 0)
    # Where the rejected point has no loss or no slope, all axes are halved.
    halved = _map(lambda s: jnp.maximum(s / 4, least), state.square_axes)
    axes = trees.select(usable, axes, halved)
    return CoordinateStepsState(axes, trees.one_more(state.num_cuts))


def _cut_at(
    tried: _Tried, params: Params, value: jax.Array, value_fn: Any
) -> CoordinateStepsState:
    """``_cut`` by loss and gradient where the rejected step sizes lead."""
    before, grads, step_sizes = tried
    dtype = trees.scalar_dtype(params)
    there = _map(lambda w, p, g: (w - p * g).astype(w.dtype), params, step_sizes, grads)
    after, ahead = value_and_grad(scalar_value_fn(value_fn, dtype), there, False)
    products = _map(
        lambda g, h: jnp.real(jnp.conj(g) * h).astype(dtype), grads, trees.conj(ahead)
    )
    slopes = _map(lambda q, h: q / 2 - h, _squares(grads, dtype), products)
    # <slopes, step_sizes> cancels against the promised decrease.
    known = jnp.asarray(value - after, dtype)
    known -= _total(dtype, step_sizes, products)
    return trees.cast_like(_cut(before, slopes, step_sizes, known), before)


def coordinate_steps(initial_step_size: Any, growth: Any) -> DirectionPair:
    """Minus the gradient, each coordinate times its own step size.

    The step size 1 of a search is that of the ellipsoid. Where the search rejects it,
    ``tell`` cuts the ellipsoid by the gradient at the rejected point.
    """

    def init(params: Params) -> CoordinateStepsState:
        dtype, size = trees.scalar_dtype(params), _size(params)
        axis = jnp.asarray(initial_step_size * size, dtype) ** 2
        squares = _squares(params, dtype)
        axes = _map(lambda q: trees.zeros_like(q) + axis, squares)
        return trees.fresh(CoordinateStepsState(axes, jnp.zeros((), jnp.int32)))

    def update(
        grads: Params, state: CoordinateStepsState, params: Params, **extra: Any
    ) -> tuple[Directions, _Tried]:
        del params, extra
        dtype = trees.scalar_dtype(grads)
        step_sizes = _aligned(state, _squares(grads, dtype), dtype)
        found = _map(lambda g, p: (-p * g).astype(g.dtype), grads, step_sizes)
        return Directions(found, found), _Tried(state, grads, step_sizes)

    def tell(
        tried: Any,
        displacement: Params,
        report: Any,
        params: Params,
        *,
        value: Any = None,
        value_fn: Any = None,
        **extra: Any,
    ) -> CoordinateStepsState:
        del displacement, extra
        before, grads, _ = tried

        def cut() -> CoordinateStepsState:
            return _cut_at(tried, params, value, value_fn)

        def grown() -> CoordinateStepsState:
            longer = jnp.where(report.accepted, growth ** (2 / _size(grads)), 1)
            axes = _map(lambda s: (longer * s).astype(s.dtype), before.square_axes)
            return before._replace(square_axes=axes)

        whole = report.accepted & (report.step_size == 1)
        return trees.either((report.num_trials > 0) & ~whole, cut, grown)

    return DirectionPair(init, update, tell)
