"""The memory of L-BFGS: pairs of steps and changes of the gradient, in a ring."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.arguments import hold_integers
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class PairsReport(NamedTuple):
    """What ``metrics`` shows: how many pairs did not enter so far, int32."""

    num_skipped: jax.Array


class PairsState(NamedTuple):
    """Pairs of a displacement and the gradient's change along it, in a ring.

    Leaves of the pairs have a leading axis of ``memory_size``, and a new pair takes the
    place of the oldest: nothing else is moved. ``curvatures`` are the inner products of
    the pairs, 0 where there is none. ``scales`` are these over the squared length of
    the change. ``newest`` is the place of the last pair, int32.
    """

    displacements: Params
    changes: Params
    curvatures: jax.Array
    scales: jax.Array
    newest: jax.Array
    report: PairsReport


def _no_pairs(params: Params, memory_size: int) -> PairsState:
    """The state before the first step."""

    def memory(leaf: jax.Array) -> jax.Array:
        # Made from the leaf, for its sharding.
        return jnp.stack([trees.zeros_like(leaf)] * int(memory_size))

    leaves = trees.wide(params)
    none = jnp.zeros(int(memory_size), trees.scalar_dtype(params))
    zero = jnp.zeros((), jnp.int32)
    state = PairsState(
        jax.tree.map(memory, leaves),
        jax.tree.map(memory, leaves),
        none,
        none,
        zero,
        PairsReport(zero),
    )
    return trees.fresh(state)


def product(left: Params, right: Params, dtype: Any) -> jax.Array:
    """The inner product of two directions: real, of complex leaves too."""
    return trees.inner(trees.conj(left), right, dtype)


def at(tree: Params, place: jax.Array) -> Params:
    def leaf_at(leaf: jax.Array) -> jax.Array:
        return jax.lax.dynamic_index_in_dim(leaf, place, keepdims=False)

    return jax.tree.map(leaf_at, tree)


def _mean_scale(state: PairsState) -> jax.Array:
    """The geometric mean of the scales of all pairs."""
    exists = state.curvatures > 0
    logs = jnp.where(exists, jnp.log(jnp.where(exists, state.scales, 1)), 0)
    return jnp.exp(jnp.sum(logs) / jnp.maximum(jnp.sum(exists), 1))


def _weight(curvature: jax.Array) -> jax.Array:
    exists = curvature > 0
    return jnp.where(exists, 1 / jnp.where(exists, curvature, 1), 0)


# Functions of the module: an eager scan over a new closure compiles at every step.
def _back(carry: tuple[Params, PairsState], place: jax.Array) -> Any:
    vector, state = carry
    weight = _weight(at(state.curvatures, place))
    along = product(at(state.displacements, place), vector, weight.dtype)
    share, change = weight * along, at(state.changes, place)
    vector = trees.add_scaled(vector, -share, change, where=weight > 0)
    return (vector, state), share


def _forth(carry: tuple[Params, PairsState], given: tuple[jax.Array, jax.Array]) -> Any:
    (vector, state), (place, share) = carry, given
    weight = _weight(at(state.curvatures, place))
    along = product(at(state.changes, place), vector, weight.dtype)
    share, displacement = share - weight * along, at(state.displacements, place)
    vector = trees.add_scaled(vector, share, displacement, where=weight > 0)
    return (vector, state), None


def latest_first(state: PairsState) -> jax.Array:
    """The places of the pairs in the ring, the newest first."""
    size = state.curvatures.size
    return jnp.remainder(state.newest - jnp.arange(size, dtype=jnp.int32), size)


def scale_of(state: PairsState, grads: Params) -> jax.Array:
    """The multiple of the gradient that a step without curvature would make.

    It is the geometric mean of the scales of all pairs. With the scale of the last pair
    alone, which is more common, full batches needed some 5 % more evaluations.
    Mini-batches ended at a higher loss, since the scale of one batch is noise. Without
    pairs the step has length 1 at most.
    """
    # Nothing is known of the curvature at first.
    sqnorm = trees.sqnorm(grads, state.curvatures.dtype)
    first = 1 / jnp.maximum(jnp.sqrt(sqnorm), 1)
    return jnp.where(jnp.any(state.curvatures > 0), _mean_scale(state), first)


def times_inverse_hessian(
    state: PairsState, grads: Params, factor: jax.Array
) -> Params:
    """The two-loop recursion: the inverse Hessian of the pairs, times ``grads``.

    It begins with ``factor`` times the gradient.
    """
    latest = latest_first(state)
    (vector, _), shares = jax.lax.scan(_back, (grads, state), latest)
    start, oldest_first = (trees.scale(factor, vector), state), (latest, shares)
    return jax.lax.scan(_forth, start, oldest_first, reverse=True)[0][0]


class _Bend(NamedTuple):
    """Curvature and scale of a pair, whether they are usable, and whether it moves."""

    curvature: jax.Array
    scale: jax.Array
    good: jax.Array
    moves: jax.Array


def _bend(displacement: Params, change: Params, dtype: Any) -> _Bend:
    """Measures a pair; a curvature within its rounding error is not usable."""
    curvature = product(displacement, change, dtype)
    sqnorms = trees.sqnorm(displacement, dtype), trees.sqnorm(change, dtype)
    least = jnp.finfo(dtype).eps * jnp.sqrt(sqnorms[0]) * jnp.sqrt(sqnorms[1])
    good = (curvature > least) & jnp.isfinite(1 / curvature) & jnp.isfinite(least)
    scale = curvature / sqnorms[1]
    good &= (scale > 0) & jnp.isfinite(scale)
    return _Bend(curvature, scale, good, sqnorms[0] > 0)


def restricted_to(free: Params, state: PairsState) -> PairsState:
    """The pairs on some coordinates only, without those that have no curvature there.

    ``free`` is a tree of masks like params.
    """
    dtype = state.curvatures.dtype

    def masked(memory: Any, mask: Any) -> Any:
        return jnp.where(mask, memory, 0) if trees.is_inexact(memory) else memory

    displacements = jax.tree.map(masked, state.displacements, free)
    changes = jax.tree.map(masked, state.changes, free)
    # The size is given, for trees without leaves.
    measure = jax.vmap(lambda s, y: _bend(s, y, dtype), axis_size=state.scales.size)
    bends = measure(displacements, changes)
    good = bends.good & (state.curvatures > 0)
    return state._replace(
        displacements=displacements,
        changes=changes,
        curvatures=jnp.where(good, bends.curvature, 0),
        scales=jnp.where(good, bends.scale, 0),
    )


def _entered(
    state: PairsState, displacement: Params, change: Params, where: jax.Array
) -> PairsState:
    """The pairs with one more in place of the oldest, ``where`` it has curvature."""
    curvature, scale, good, moves = _bend(displacement, change, state.curvatures.dtype)
    good &= where
    place = jnp.remainder(state.newest + 1, state.curvatures.size)
    skips, skipped = where & ~good & moves, state.report.num_skipped

    def put(memory: jax.Array, leaf: jax.Array) -> jax.Array:
        # Where nothing enters, the old entry. Selecting whole memories would copy them.
        old = jax.lax.dynamic_index_in_dim(memory, place, keepdims=False)
        entry = jnp.where(good, leaf.astype(memory.dtype), old)
        return jax.lax.dynamic_update_index_in_dim(memory, entry, place, 0)

    return PairsState(
        jax.tree.map(put, state.displacements, displacement),
        jax.tree.map(put, state.changes, change),
        put(state.curvatures, curvature),
        put(state.scales, scale),
        jnp.where(good, place, state.newest),
        PairsReport(jnp.where(skips, trees.one_more(skipped), skipped)),
    )


def _forgotten(state: PairsState, grad: Params, report: Any) -> PairsState:
    """The state without its pairs where a search failed: the next one would fail too.

    A batch that is not finite says nothing of the pairs, nor does one whose gradient
    is 0.
    """
    sqnorm = trees.sqnorm(grad, state.curvatures.dtype)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in trees.inexact_leaves(grad)]
    usable = functools.reduce(operator.and_, finite, jnp.isfinite(report.value))
    failed = usable & (sqnorm > 0) & ~report.accepted
    return state._replace(curvatures=jnp.where(failed, 0, state.curvatures))


def with_step(
    state: PairsState,
    displacement: Params,
    report: Any,
    params: Params,
    grad: Params,
    grad_after: Callable[[Params], Params],
) -> PairsState:
    """The pairs with that of an accepted step; none are left after a failed search.

    ``grad`` is JAX's gradient at ``params``, and not what ``update`` got, which may be
    clipped. ``grad_after`` gives that at the params after the step.
    """
    one = jnp.ones((), jnp.float32)
    after = trees.add_scaled(params, one, displacement, where=report.accepted)
    # What the params moved by in their own precision.
    moved = trees.difference(trees.wide(after), trees.wide(params))
    before, behind = (
        trees.wide(hold_integers(trees.conj(g), params))
        for g in (grad, grad_after(after))
    )
    change = trees.difference(behind, before)
    new = _entered(state, moved, change, report.accepted)
    return _forgotten(new, grad, report)


def _quasi_newton(state: PairsState, params: Params, grads: Params) -> Params:
    """Minus the inverse Hessian of the pairs, times the gradient."""
    del params
    factor = scale_of(state, grads)
    return trees.reverse(times_inverse_hessian(state, grads, factor))


def remembering(
    memory_size: int,
    tell: Callable[..., PairsState],
    find: Callable[[PairsState, Params, Params], Params] = _quasi_newton,
) -> DirectionPair:
    """The pair of directions from a ring of pairs, into which ``tell`` puts steps.

    ``find(state, params, grads)`` makes the direction, in float32 or wider.
    """
    checks.require_integer("memory_size", memory_size, 1)

    def init(params: Params) -> PairsState:
        return _no_pairs(params, memory_size)

    def update(
        grads: Params, state: PairsState, params: Any = None, **extra: Any
    ) -> tuple[Directions, PairsState]:
        del extra
        found = trees.cast_like(find(state, params, trees.wide(grads)), grads)
        return Directions(found, found), state

    return DirectionPair(init, update, tell)
