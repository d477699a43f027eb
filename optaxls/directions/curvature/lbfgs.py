"""The direction of L-BFGS from pairs whose two gradients are of one batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.arguments import hold_integers, require_arguments
from optaxls._core.loss import grad_of
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class _PairsReport(NamedTuple):
    """What ``metrics`` shows: how many pairs did not enter so far, int32."""

    num_skipped: jax.Array


class LbfgsState(NamedTuple):
    """Pairs of a displacement and the gradient's change along it, the last one last.

    Leaves of the pairs have a leading axis of ``memory_size``. ``curvatures`` are the
    inner products of the pairs, 0 where there is none yet.
    """

    displacements: Params
    changes: Params
    curvatures: jax.Array
    report: _PairsReport


def _wide(leaf: Any) -> jax.Array:
    kind = jnp.result_type(leaf)
    return jnp.asarray(leaf, jnp.promote_types(kind, jnp.float32))


def _product(left: Params, right: Params, dtype: Any) -> jax.Array:
    """The inner product of two directions: real, of complex leaves too."""
    return trees.inner(trees.conj(left), right, dtype)


# Functions of the module: an eager scan over a new closure compiles at every step.
def _back(vector: Params, pair: Any) -> tuple[Params, jax.Array]:
    displacement, change, weight = pair
    share = weight * _product(displacement, vector, weight.dtype)
    return trees.add_scaled(vector, -share, change, where=weight > 0), share


def _forth(vector: Params, pair: Any) -> tuple[Params, None]:
    (displacement, change, weight), share = pair
    share = share - weight * _product(change, vector, weight.dtype)
    return trees.add_scaled(vector, share, displacement, where=weight > 0), None


def _direction(state: LbfgsState, grads: Params) -> Params:
    """The two-loop recursion: the inverse Hessian of the pairs, times ``grads``."""
    dtype = state.curvatures.dtype
    exists = state.curvatures > 0
    weights = jnp.where(exists, 1 / jnp.where(exists, state.curvatures, 1), 0)
    pairs = (state.displacements, state.changes, weights)
    last = jax.tree.map(lambda leaf: leaf[-1], state.changes)
    sqnorm = trees.sqnorm(last, dtype)
    # The first step has length 1 at most: nothing is known of the curvature.
    grad_norm = jnp.sqrt(trees.sqnorm(grads, dtype))
    first = 1 / jnp.maximum(grad_norm, 1)
    scale = state.curvatures[-1] / jnp.where(sqnorm > 0, sqnorm, 1)
    scale = jnp.where(exists[-1] & (sqnorm > 0), scale, first)
    vector, shares = jax.lax.scan(_back, grads, pairs, reverse=True)
    return jax.lax.scan(_forth, trees.scale(scale, vector), (pairs, shares))[0]


def _entered(
    state: LbfgsState, displacement: Params, change: Params, accepted: jax.Array
) -> LbfgsState:
    """The pairs with one more, and without the oldest, where it has curvature.

    A curvature within the rounding error of its inner product is none.
    """
    dtype = state.curvatures.dtype
    curvature = _product(displacement, change, dtype)
    lengths = [jnp.sqrt(trees.sqnorm(tree, dtype)) for tree in (displacement, change)]
    least = jnp.finfo(dtype).eps * lengths[0] * lengths[1]
    good = (curvature > least) & jnp.isfinite(1 / curvature) & jnp.isfinite(least)
    skips = accepted & ~good & (lengths[0] > 0)

    def with_last(memory: jax.Array, leaf: jax.Array) -> jax.Array:
        return jnp.concatenate([memory[1:], leaf.astype(memory.dtype)[None]])

    new = state._replace(
        displacements=jax.tree.map(with_last, state.displacements, displacement),
        changes=jax.tree.map(with_last, state.changes, change),
        curvatures=with_last(state.curvatures, curvature),
    )
    skipped = state.report.num_skipped
    skipped = jnp.where(skips, trees.one_more(skipped), skipped)
    kept = trees.select(accepted & good, new, state)
    return kept._replace(report=_PairsReport(skipped))


def lbfgs_pairs(*, memory_size: int = 10) -> DirectionPair:
    r"""The direction of L-BFGS, whose pairs hold two gradients of one batch.

    After a step :math:`s` on a batch with the gradient :math:`g`, the pair of
    :math:`s` and :math:`y = g(w + s) - g(w)` enters, both gradients on that batch. The
    difference of two batches' gradients would be noise. Minus the gradient, multiplied
    by the inverse Hessian that the pairs imply, is searched along and applied.

    Args:
      memory_size: pairs that are kept, >= 1.

    Returns:
      A pair for ``two_directions``. ``update`` needs ``grad`` and, for the gradient
      after the step, ``grad_fn`` (params -> gradient) or else ``value_fn``. Neither a
      step that was not accepted nor a pair whose :math:`s^\top y` is not positive, or
      not finite, enters the memory.

    State:
      ``report``: ``num_skipped``, the number of pairs without curvature so far, which
      ``metrics`` shows.

    Raises:
      ValueError: ``memory_size`` lies outside its range.
      TypeError: ``grad``, or both of the functions, are missing from ``update``.

    Cost:
      One gradient besides the step's, also where the step is not accepted;
      ``2 * memory_size`` copies of the params, in float32 or wider.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> pair = optaxls.lbfgs_pairs(memory_size=2)
      >>> g = jnp.array([3.0, 4.0])
      >>> directions, _ = pair.update(g, pair.init(g), g)
      >>> print(directions.searched)      # of length 1 at first
      [-0.6 -0.8]

    Reference:
      Nocedal and Wright 2006, Algorithm 7.4; Meng et al. 2020, arXiv:1910.04920.
    """
    checks.require_integer("memory_size", memory_size, 1)

    def init(params: Params) -> LbfgsState:
        def stack(leaf: Any) -> jax.Array:
            # Made from the leaf, so that each pair has its sharding.
            zeros = trees.zeros_like(_wide(leaf))
            return jnp.broadcast_to(zeros, (memory_size, *zeros.shape))

        def memory() -> Params:
            return jax.tree.map(stack, params)

        curvatures = jnp.zeros(memory_size, trees.scalar_dtype(params))
        report = _PairsReport(jnp.zeros((), jnp.int32))
        return trees.fresh(LbfgsState(memory(), memory(), curvatures, report))

    def update(
        grads: Params, state: LbfgsState, params: Any = None, **extra: Any
    ) -> tuple[Directions, LbfgsState]:
        del params, extra
        wide = jax.tree.map(_wide, grads)
        found = trees.cast_like(trees.reverse(_direction(state, wide)), grads)
        return Directions(found, found), state

    def tell(
        state: LbfgsState,
        displacement: Params,
        report: Any,
        params: Params,
        *,
        grad: Any = None,
        value_fn: Any = None,
        grad_fn: Any = None,
        **extra: Any,
    ) -> LbfgsState:
        del extra
        require_arguments("lbfgs_pairs", grad=grad)
        if grad_fn is None:
            require_arguments("lbfgs_pairs", value_fn=value_fn)
            grad_fn = grad_of(value_fn)
        after = trees.add_scaled(
            params, jnp.ones((), jnp.float32), displacement, where=report.accepted
        )

        def ascent(gradient: Params) -> Params:
            held = hold_integers(trees.conj(gradient), params)
            return jax.tree.map(_wide, held)

        # Computed in any case: inside of a branch a gradient can be slow. What
        # ``update`` got may be clipped, so ``grad`` is taken.
        change = trees.difference(ascent(grad_fn(after)), ascent(grad))
        # What the params moved by in their own precision.
        moved = trees.difference(
            jax.tree.map(_wide, after), jax.tree.map(_wide, params)
        )
        return _entered(state, moved, change, report.accepted)

    return DirectionPair(init, update, tell)
