"""Nesterov's three sequences, as a pair of directions of the one that is trained."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class AcceleratedState(NamedTuple):
    """Two of the three sequences, w and v; the third, y, is trained."""

    eval_params: Params
    anchor: Params


class _Tried(NamedTuple):
    """The sequences before the step, and those after it should it be taken."""

    before: AcceleratedState
    after: AcceleratedState


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


def _tell(
    tried: Any, displacement: Params, report: Any, params: Params, **extra: Any
) -> AcceleratedState:
    del displacement, params, extra
    return trees.select(report.accepted, tried.after, tried.before)


def three_sequences(
    growth: Any, step_size: Any, strong_convexity: Any
) -> DirectionPair:
    """The pair whose applied direction, times ``step_size``, is the step of y.

    The gradient g at y gives ``w+ = y - step_size g``, ``v+ = (1 - s) v + s y -
    (s / mu) g`` and ``y+ = (s v+ + w+) / (1 + s)``.
    """
    s = (strong_convexity * step_size / growth) ** 0.5

    def init(params: Params) -> AcceleratedState:
        return trees.fresh(AcceleratedState(params, params))

    def update(
        grads: Params, state: AcceleratedState, params: Params, **extra: Any
    ) -> tuple[Directions, _Tried]:
        del extra
        y, v = params, state.anchor
        after = AcceleratedState(
            _combined((1, y), (-step_size, grads)),
            _combined((1 - s, v), (s, y), (-s / strong_convexity, grads)),
        )
        # (y+ - y) / step_size, without the difference of two numbers that are close.
        away = s * (1 - s) / step_size / (1 + s)
        along = -(1 + 1 / growth) / (1 + s)
        applied = _combined((along, grads), (away, trees.difference(v, y)))
        directions = Directions(trees.reverse(grads), applied)
        return directions, _Tried(state, trees.cast_like(after, state))

    return DirectionPair(init, update, _tell)
