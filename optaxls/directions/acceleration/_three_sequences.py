"""Nesterov's three sequences, as a pair of directions of the one that is trained."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import hold_integers
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Outcome, Params


class AcceleratedState(NamedTuple):
    """Two of the three sequences, w and v; the third, y, is trained.

    ``anchor`` is v, in float32 or wider. ``anchor_weight`` is its weight in the y that
    is trained, in (0, 1]; w has the rest.
    """

    eval_params: Params
    anchor: Params
    anchor_weight: jax.Array
    num_restarts: jax.Array


class Weights(NamedTuple):
    """Of one step: ``v+ = keep v + (1 - keep) y - pull g``, and v's weight in y+."""

    keep: jax.Array
    pull: jax.Array
    next_weight: jax.Array


class _Second(NamedTuple):
    """What the applied direction is made from, once the step size is known.

    ``away`` is ``v - y``. ``rise`` is the slope from w to y, and ``sqnorm`` that of the
    gradient: together they tell whether the next w lies uphill of the present one.
    """

    grads: Params
    away: Params
    weight: jax.Array
    rise: jax.Array
    sqnorm: jax.Array


class _Tried(NamedTuple):
    """The state before the step, and what the step is made from."""

    before: AcceleratedState
    second: _Second


class ThreeSequences(NamedTuple):
    """The pair, and the ``applied`` of ``two_directions`` that belongs to it."""

    pair: DirectionPair
    applied: Callable[[Directions, Outcome], tuple[Params, bool]]


def _combined(*terms: tuple[Any, Params]) -> Params:
    """The sum of factors times trees, in the dtypes of the first tree."""
    factors = [factor for factor, _ in terms]

    def leaf(first: Any, *others: Any) -> Any:
        if not trees.is_inexact(first):
            return first
        parts = zip(factors, (first, *others), strict=True)
        total = sum(factor * part for factor, part in parts)
        return jnp.asarray(total).astype(jnp.result_type(first))

    return jax.tree.map(leaf, *(tree for _, tree in terms))


def _weights(growth: Any, strong_convexity: Any) -> Callable[..., Weights]:
    """The weights of a step by its size and by the weight of v in the present y.

    Whether ``strong_convexity`` is 0 may be known in each step only, as that of
    ``optax.inject_hyperparams``.
    """

    def strongly_convex(
        step_size: jax.Array, weight: jax.Array, mu: Any = strong_convexity
    ) -> Weights:
        del weight
        s = jnp.minimum(jnp.sqrt(mu * step_size / growth), 1)
        return Weights(1 - s, s / mu, s / (1 + s))

    def convex(step_size: jax.Array, weight: jax.Array) -> Weights:
        t = 1 / weight
        following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return Weights(jnp.ones_like(t), t * step_size / growth, 1 / following)

    def either(step_size: jax.Array, weight: jax.Array) -> Weights:
        known = strong_convexity > 0
        strong = strongly_convex(
            step_size, weight, jnp.where(known, strong_convexity, 1)
        )
        return trees.select(known, strong, convex(step_size, weight))

    if not isinstance(strong_convexity, (int, float)):
        return either
    return strongly_convex if float(strong_convexity) > 0 else convex


def _second(
    grads: Params, state: AcceleratedState, params: Params, restart: bool
) -> _Second:
    """What the second direction is made of; sums over the params only for a restart."""
    dtype = state.anchor_weight.dtype
    away = trees.difference(state.anchor, params)
    rise = sqnorm = jnp.zeros((), dtype)
    if restart:
        ahead = trees.difference(params, state.eval_params)
        rise = trees.inner(trees.conj(grads), ahead, dtype)
        sqnorm = trees.sqnorm(grads, dtype)
    return _Second(grads, away, state.anchor_weight, rise, sqnorm)


def _first_state(params: Params) -> AcceleratedState:
    """All three sequences begin at the params."""
    one = jnp.ones((), trees.scalar_dtype(params))
    none = jnp.zeros((), jnp.int32)
    return trees.fresh(AcceleratedState(params, trees.wide(params), one, none))


def three_sequences(
    growth: Any, strong_convexity: Any, restart: bool
) -> ThreeSequences:
    """Searches from y along minus the gradient g, and moves y as the method does.

    With the step size found, ``w+ = y - step_size g``, v+ is that of ``Weights``, and
    ``y+ = w+ + next_weight (v+ - w+)``. A restart sets v+ and y+ to w+.
    """
    weights_of = _weights(growth, strong_convexity)

    def restarts(second: _Second, step_size: jax.Array) -> jax.Array | bool:
        return restart and second.rise > step_size * second.sqnorm

    def update(
        grads: Params, state: AcceleratedState, params: Params, **extra: Any
    ) -> tuple[Directions, _Tried]:
        del extra
        second = _second(grads, state, params, restart)
        return Directions(trees.reverse(grads), second), _Tried(state, second)

    def applied(directions: Directions, outcome: Outcome) -> tuple[Params, bool]:
        second, step_size = directions.applied, outcome.applied.step_size
        step_size = jnp.where(step_size > 0, step_size, 1)
        keep, pull, weight = weights_of(step_size, second.weight)
        # (y+ - y) / step_size, without the difference of two numbers that are close.
        along = (1 - weight) + weight * pull / step_size
        beside = weight * keep / step_size
        again = restarts(second, step_size)
        along, beside = jnp.where(again, 1, along), jnp.where(again, 0, beside)
        direction = _combined((-along, second.grads), (beside, second.away))
        return hold_integers(direction, second.grads), False

    def tell(
        tried: Any, displacement: Params, report: Any, params: Params, **extra: Any
    ) -> AcceleratedState:
        del displacement, extra
        (before, second), moved = tried, report.step_size > 0
        step_size = jnp.where(moved, report.step_size, 1)
        keep, pull, weight = weights_of(step_size, second.weight)
        again = restarts(second, step_size)
        ahead = _combined((1, params), (-step_size, second.grads))
        # v+ = y + keep (v - y) - pull g; after a restart it is w+.
        keep, pull = jnp.where(again, 0, keep), jnp.where(again, step_size, pull)
        anchor = _combined(
            (1, trees.wide(params)), (keep, second.away), (-pull, second.grads)
        )
        count = before.num_restarts + jnp.asarray(again, jnp.int32)
        after = AcceleratedState(ahead, anchor, jnp.where(again, 1, weight), count)
        return trees.select(moved, after, before)

    return ThreeSequences(DirectionPair(_first_state, update, tell), applied)
