"""A table of the last gradient of each function of a finite sum, and its mean."""

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import hold_integers, require_arguments
from optaxls.directions.finite_sums import _visits
from optaxls.directions.finite_sums.reading import table_bytes
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class TableReport(NamedTuple):
    """What ``metrics`` shows.

    ``num_seen`` is the number of functions with a gradient in the table,
    ``num_left_out`` that of the steps so far that changed nothing; int32.
    """

    num_seen: jax.Array
    num_left_out: jax.Array


class TableState(NamedTuple):
    """The gradients seen last, times their weights, and their sum.

    Leaves of ``table`` have a leading axis of ``num_functions``. ``total`` is the sum
    of the rows, in float32 or wider. ``fresh`` is that of the rows before ``cursor``,
    which moves by a row in each step that is made. When it has passed all rows,
    ``fresh`` becomes ``total``: rounding errors live for two rounds at most. ``seen``
    marks the rows that hold a gradient, ``seen_weight`` is the sum of their weights.
    """

    table: Params
    total: Params
    fresh: Params
    cursor: jax.Array
    seen: jax.Array
    seen_weight: jax.Array
    visits: _visits.VisitsState
    report: TableReport


class _Here(NamedTuple):
    """What the state holds of one function."""

    row: Params
    seen: jax.Array
    doubted: jax.Array


class _Sums(NamedTuple):
    """The total before the step, the change of the row, and what was seen."""

    total: Params
    change: Params
    was_seen: jax.Array
    seen_weight: jax.Array


class _Tried(NamedTuple):
    """What ``tell`` needs besides the state."""

    state: TableState
    visit: _visits.Visit
    here: _Here
    row: Params
    sums: _Sums
    num_seen: jax.Array


# ``sums -> an estimate of the gradient of the mean``.
Estimate = Callable[[_Sums], Params]


def _combined(fn: Callable, like: Params, *others: Params) -> Params:
    """``fn`` of the leaves that are trained; the other leaves are those of ``like``."""
    return jax.tree.map(
        lambda leaf, *rest: fn(leaf, *rest) if trees.is_inexact(leaf) else leaf,
        like,
        *others,
    )


def _added(total: Params, change: Params, where: jax.Array) -> Params:
    one = jnp.ones((), jnp.float32)
    return trees.add_scaled(total, one, change, where=where)


def _mean_of(total: Params, weight: jax.Array) -> Params:
    """The sum over the weight, 0 where nothing was seen that weighs anything."""
    factor = jnp.where(weight > 0, 1 / jnp.where(weight > 0, weight, 1), 0)
    return trees.scale(factor, total)


def average(sums: _Sums) -> Params:
    """The mean of the table with the new gradient in it: biased, little variance."""
    everywhere = jnp.ones((), bool)
    return _mean_of(_added(sums.total, sums.change, everywhere), sums.seen_weight)


def corrected_average(sums: _Sums) -> Params:
    """The new gradient less the old one, plus the old mean: without bias.

    A function that has no old gradient takes part by the new mean.
    """
    total = _added(sums.total, sums.change, ~sums.was_seen)
    mean = _mean_of(total, sums.seen_weight)
    return _added(mean, sums.change, sums.was_seen)


def _empty_table(params: Params, num_functions: int) -> Params:
    """Zeros with an axis in front; integer leaves, which have no gradient, without."""

    def leaf_table(leaf: jax.Array) -> jax.Array:
        if not trees.is_inexact(leaf):
            return jnp.zeros((), leaf.dtype)
        # Made from the leaf, for its sharding.
        row = trees.zeros_like(leaf)
        return jnp.broadcast_to(row, (num_functions, *row.shape))

    return jax.tree.map(leaf_table, params)


def _first_state(params: Params, num_functions: int) -> TableState:
    params = jax.tree.map(jnp.asarray, params)
    zeros = trees.wide(jax.tree.map(trees.zeros_like, params))
    none = jnp.zeros((), jnp.int32)
    # The table itself is not copied, so that it is in memory once.
    rest = trees.fresh(
        TableState(
            (),
            zeros,
            zeros,
            none,
            jnp.zeros(num_functions, bool),
            jnp.zeros((), trees.scalar_dtype(params)),
            _visits.no_visits(params, num_functions),
            TableReport(none, none),
        )
    )
    return rest._replace(table=_empty_table(params, num_functions))


def _at(table: Params, like: Params, place: jax.Array) -> Params:
    return _combined(lambda leaf, rows: _visits.at(rows, place), like, table)


def _read(state: TableState, like: Params, place: jax.Array) -> _Here:
    doubted = _visits.at(state.visits.doubted, place)
    return _Here(_at(state.table, like, place), _visits.at(state.seen, place), doubted)


def _tried(
    state: TableState,
    visit: _visits.Visit,
    here: _Here,
    grads: Params,
    weight: jax.Array,
    num_functions: int,
) -> _Tried:
    """What the step would put in, and what it would be made from."""
    usable, old, was_seen = visit.usable, here.row, here.seen
    row = trees.select(usable, trees.scale(weight, grads), old)
    change = trees.difference(trees.wide(row), trees.wide(old))
    newly = usable & ~was_seen
    num_seen = state.report.num_seen + newly
    seen_weight = state.seen_weight + jnp.where(newly, weight, 0)
    # The weights have a mean of 1, so that this is exact once all were seen.
    whole = jnp.asarray(num_functions, seen_weight.dtype)
    seen_weight = jnp.where(num_seen == num_functions, whole, seen_weight)
    sums = _Sums(state.total, change, was_seen, seen_weight)
    return _Tried(state, visit, here, row, sums, num_seen)


def _reported(old: TableReport, num_seen: jax.Array, made: jax.Array) -> TableReport:
    left_out = jnp.where(made, old.num_left_out, trees.one_more(old.num_left_out))
    return TableReport(jnp.where(made, num_seen, old.num_seen), left_out)


def _put_in(tried: _Tried, made: jax.Array, num_functions: int) -> TableState:
    """The state with the new row ``where`` the step was made."""
    state, place = tried.state, tried.visit.place
    row = trees.select(made, tried.row, tried.here.row)
    table = _combined(
        lambda rows, leaf: _visits.put(rows, leaf, place), state.table, row
    )
    change, cursor = tried.sums.change, state.cursor
    total = _added(state.total, change, made)
    fresh = _added(state.fresh, change, made & (place < cursor))
    fresh = _added(fresh, _at(table, row, cursor), made)
    ahead = jnp.where(made, cursor + 1, cursor)
    done = ahead == num_functions
    return TableState(
        table,
        trees.select(done, fresh, total),
        trees.zero_unless(~done, fresh),
        jnp.where(done, 0, ahead),
        _visits.put(state.seen, tried.here.seen | made, place),
        jnp.where(made, tried.sums.seen_weight, state.seen_weight),
        state.visits,
        _reported(state.report, tried.num_seen, made),
    )


def _require_memory(
    name: str, params: Params, num_functions: int, max_bytes: float
) -> None:
    """Raises ValueError if the table is too large, and tells its size in the log."""
    needed = table_bytes(params, num_functions)
    if needed > max_bytes:
        raise ValueError(
            f"{name}: the table of {num_functions} gradients takes {needed} bytes, and "
            f"max_bytes is {max_bytes}. Take fewer functions (num_functions mini-"
            "batches instead of examples), svrg, which has no table, or a larger "
            "max_bytes."
        )
    logging.getLogger("optaxls").info(
        "%s: the table of %d gradients takes %d bytes", name, num_functions, needed
    )


def gradient_table(
    name: str,
    num_functions: int,
    estimate: Estimate,
    *,
    share: float = 1.0,
    weights: Any = None,
    max_bytes: float,
) -> DirectionPair:
    """Searches along one function's gradient, and applies an estimate of the mean's.

    ``share`` is what the step is of the longest one that the search allows: the
    direction searched is minus the gradient over ``share``. ``weights`` have a mean of
    1, or are None. ``name`` is the optimizer that errors name.
    """

    def init(params: Params) -> TableState:
        _require_memory(name, params, num_functions, max_bytes)
        return _first_state(params, num_functions)

    def update(
        grads: Params,
        state: TableState,
        params: Any = None,
        *,
        value: Any = None,
        index: Any = None,
        **extra: Any,
    ) -> tuple[Directions, _Tried]:
        del extra
        require_arguments(name, value=value, index=index)
        grads = hold_integers(grads, params)
        at = _visits.placed(name, index, num_functions)
        here = _visits.read_once(functools.partial(_read, state, grads), *at)
        visit, visits = _visits.visited(state.visits, *at, here.doubted, grads, value)
        dtype = state.seen_weight.dtype
        weight = _visits.weight_at(weights, visit.place, dtype)
        state = state._replace(visits=visits)
        tried = _tried(state, visit, here, grads, weight, num_functions)
        applied = trees.cast_like(trees.reverse(estimate(tried.sums)), grads)
        searched = trees.reverse(trees.scale(weight / share, grads))
        moves = bool(trees.inexact_leaves(grads))
        directions = Directions(searched, applied, usable=visit.usable, goes_on=moves)
        return directions, tried

    def tell(
        tried: Any, displacement: Params, report: Any, params: Params, **extra: Any
    ) -> TableState:
        del displacement, params, extra
        made = tried.visit.usable & report.accepted
        return _put_in(tried, made, num_functions)

    return DirectionPair(init, update, tell)
