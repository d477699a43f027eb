"""The gradient of one function, corrected by that of all at an earlier point."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import hold_integers, require_arguments
from optaxls.directions.finite_sums import _visits
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class SnapshotReport(NamedTuple):
    """What ``metrics`` shows: snapshots taken, steps that changed nothing; int32."""

    num_snapshots: jax.Array
    num_left_out: jax.Array


class SnapshotState(NamedTuple):
    """Earlier params, the gradient of the whole sum there, and when to renew them.

    ``snapshot_grad`` is in float32 or wider. ``age`` counts the steps since the last
    snapshot, ``num_steps`` all of them. ``due`` says that the next step takes one.
    """

    snapshot: Params
    snapshot_grad: Params
    age: jax.Array
    num_steps: jax.Array
    due: jax.Array
    visits: _visits.VisitsState
    report: SnapshotReport


class _Tried(NamedTuple):
    state: SnapshotState
    visit: _visits.Visit
    usable: jax.Array


# ``(steps since the last snapshot, all steps) -> whether the next step takes one``.
Schedule = Callable[[jax.Array, jax.Array], jax.Array]


def _first_state(num_functions: int, params: Params) -> SnapshotState:
    params = jax.tree.map(jnp.asarray, params)
    none = jnp.zeros((), jnp.int32)
    state = SnapshotState(
        params,
        trees.wide(jax.tree.map(trees.zeros_like, params)),
        none,
        none,
        jnp.ones((), bool),
        _visits.no_visits(params, num_functions),
        SnapshotReport(none, none),
    )
    return trees.fresh(state)


def _renewed(
    state: SnapshotState, params: Params, snapshot_grad: Any, in_range: jax.Array
) -> SnapshotState:
    """The state with a snapshot of ``params`` where one is due and its gradient given.

    A gradient that is not finite is not taken, and the snapshot stays due.
    """
    if snapshot_grad is None:
        return state
    full = trees.wide(hold_integers(trees.conj(snapshot_grad), params))
    dtype = state.visits.mean_grad_sqnorm.dtype
    takes = state.due & in_range & jnp.isfinite(trees.sqnorm(full, dtype))
    taken = state.report.num_snapshots
    return state._replace(
        snapshot=trees.select(takes, params, state.snapshot),
        snapshot_grad=trees.select(takes, full, state.snapshot_grad),
        age=jnp.where(takes, 0, state.age),
        due=state.due & ~takes,
        report=state.report._replace(
            num_snapshots=jnp.where(takes, trees.one_more(taken), taken)
        ),
    )


def _corrected(
    state: SnapshotState, grads: Params, at_snapshot: Params, weight: jax.Array
) -> Params:
    """The estimate of the gradient; before the first snapshot that of SGD."""
    moved = trees.difference(trees.wide(grads), trees.wide(at_snapshot))
    moved = trees.scale(weight, moved)
    one = jnp.ones((), jnp.float32)
    known = state.report.num_snapshots > 0
    estimate = trees.add_scaled(state.snapshot_grad, one, moved, where=known)
    return trees.select(known, estimate, trees.scale(weight, trees.wide(grads)))


def _after(tried: _Tried, schedule: Schedule, accepted: jax.Array) -> SnapshotState:
    """The state after a step: one more, and whether a snapshot is due."""
    state, in_range = tried.state, tried.visit.in_range
    age = jnp.where(in_range, trees.one_more(state.age), state.age)
    steps = jnp.where(in_range, trees.one_more(state.num_steps), state.num_steps)
    due = state.due | (in_range & schedule(age, steps))
    left_out, made = state.report.num_left_out, tried.usable & accepted
    left_out = jnp.where(made, left_out, trees.one_more(left_out))
    report = state.report._replace(num_left_out=left_out)
    return state._replace(age=age, num_steps=steps, due=due, report=report)


def snapshot_gradient(
    name: str,
    num_functions: int,
    schedule: Schedule,
    *,
    share: float = 1.0,
    weights: Any = None,
) -> DirectionPair:
    """Searches along one function's gradient, applies it corrected by the snapshot.

    ``schedule`` says when the next snapshot is due. ``share`` is what the step is of
    the longest one that the search allows. ``weights`` have a mean of 1, or are None.
    """
    init = functools.partial(_first_state, num_functions)

    def update(
        grads: Params,
        state: SnapshotState,
        params: Any = None,
        *,
        value: Any = None,
        index: Any = None,
        grad_fn: Any = None,
        snapshot_grad: Any = None,
        **extra: Any,
    ) -> tuple[Directions, _Tried]:
        del extra
        require_arguments(name, value=value, index=index, grad_fn=grad_fn)
        grads = hold_integers(grads, params)
        at = _visits.placed(name, index, num_functions)
        read = functools.partial(_visits.at, state.visits.doubted)
        doubted = _visits.read_once(read, *at)
        visit, visits = _visits.visited(state.visits, *at, doubted, grads, value)
        state = state._replace(visits=visits)
        state = _renewed(state, params, snapshot_grad, visit.in_range)
        dtype = visits.mean_grad_sqnorm.dtype
        weight = _visits.weight_at(weights, visit.place, dtype)
        # Computed in any case: inside of a branch a gradient can be slow.
        at_snapshot = hold_integers(trees.conj(grad_fn(state.snapshot)), params)
        estimate = _corrected(state, grads, at_snapshot, weight)
        usable = visit.usable & jnp.isfinite(trees.sqnorm(estimate, dtype))
        applied = trees.cast_like(trees.reverse(estimate), grads)
        searched = trees.reverse(trees.scale(weight / share, grads))
        moves = bool(trees.inexact_leaves(grads))
        directions = Directions(searched, applied, usable=usable, goes_on=moves)
        return directions, _Tried(state, visit, usable)

    def tell(
        tried: Any, displacement: Params, report: Any, params: Params, **extra: Any
    ) -> SnapshotState:
        del displacement, params, extra
        return _after(tried, schedule, report.accepted)

    return DirectionPair(init, update, tell)
