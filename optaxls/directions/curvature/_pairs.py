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


def _product(left: Params, right: Params, dtype: Any) -> jax.Array:
    """The inner product of two directions: real, of complex leaves too."""
    return trees.inner(trees.conj(left), right, dtype)


def _at(tree: Params, place: jax.Array) -> Params:
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
    weight = _weight(_at(state.curvatures, place))
    product = _product(_at(state.displacements, place), vector, weight.dtype)
    share, change = weight * product, _at(state.changes, place)
    vector = trees.add_scaled(vector, -share, change, where=weight > 0)
    return (vector, state), share


def _forth(carry: tuple[Params, PairsState], given: tuple[jax.Array, jax.Array]) -> Any:
    (vector, state), (place, share) = carry, given
    weight = _weight(_at(state.curvatures, place))
    product = _product(_at(state.changes, place), vector, weight.dtype)
    share, displacement = share - weight * product, _at(state.displacements, place)
    vector = trees.add_scaled(vector, share, displacement, where=weight > 0)
    return (vector, state), None


def _times_inverse_hessian(state: PairsState, grads: Params) -> Params:
    """The two-loop recursion: the inverse Hessian of the pairs, times ``grads``.

    It begins with a multiple of the gradient: the geometric mean of the scales of all
    pairs. With the scale of the last pair alone, which is more common, full batches
    needed some 5 % more evaluations. Mini-batches ended at a higher loss, since the
    scale of one batch is noise. Without pairs the result has length 1 at most.
    """
    dtype, size = state.curvatures.dtype, state.curvatures.size
    latest = jnp.remainder(state.newest - jnp.arange(size, dtype=jnp.int32), size)
    # Nothing is known of the curvature at first.
    first = 1 / jnp.maximum(jnp.sqrt(trees.sqnorm(grads, dtype)), 1)
    factor = jnp.where(jnp.any(state.curvatures > 0), _mean_scale(state), first)
    (vector, _), shares = jax.lax.scan(_back, (grads, state), latest)
    start, oldest_first = (trees.scale(factor, vector), state), (latest, shares)
    return jax.lax.scan(_forth, start, oldest_first, reverse=True)[0][0]


def _entered(
    state: PairsState, displacement: Params, change: Params, where: jax.Array
) -> PairsState:
    """The pairs with one more in place of the oldest, ``where`` it has curvature.

    A curvature within the rounding error of its inner product is none.
    """
    dtype, size = state.curvatures.dtype, state.curvatures.size
    curvature = _product(displacement, change, dtype)
    sqnorms = trees.sqnorm(displacement, dtype), trees.sqnorm(change, dtype)
    least = jnp.finfo(dtype).eps * jnp.sqrt(sqnorms[0]) * jnp.sqrt(sqnorms[1])
    good = (curvature > least) & jnp.isfinite(1 / curvature) & jnp.isfinite(least)
    scale = curvature / sqnorms[1]
    good &= where & (scale > 0) & jnp.isfinite(scale)
    place = jnp.remainder(state.newest + 1, size)
    skips, skipped = where & ~good & (sqnorms[0] > 0), state.report.num_skipped

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


def remembering(memory_size: int, tell: Callable[..., PairsState]) -> DirectionPair:
    """The pair of directions from a ring of pairs, into which ``tell`` puts steps."""
    checks.require_integer("memory_size", memory_size, 1)

    def init(params: Params) -> PairsState:
        return _no_pairs(params, memory_size)

    def update(
        grads: Params, state: PairsState, params: Any = None, **extra: Any
    ) -> tuple[Directions, PairsState]:
        del params, extra
        found = _times_inverse_hessian(state, trees.wide(grads))
        found = trees.cast_like(trees.reverse(found), grads)
        return Directions(found, found), state

    return DirectionPair(init, update, tell)
