"""The direction of L-BFGS on the coordinates that are free, and descent on the rest."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.directions.curvature import _full_batch, _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.paths._kinks import weights_of
from optaxls.parts.types import Params, Proximal


class Reduced(NamedTuple):
    """The gradient of loss and penalty, and masks of the coordinates that are free.

    At a kink or bound the gradient is that of the side to which the coordinate can go.
    """

    grad: Params
    free: Params


# ``(params, gradient of the loss) -> reduced``.
Reduce = Callable[[Params, Params], Reduced]


def restricted_pairs(memory_size: int, reduce: Reduce) -> DirectionPair:
    """Minus the reduced gradient: on free coordinates times the inverse Hessian there.

    On the others it is multiplied by the same scale with which that Hessian begins. The
    pairs are those of ``lbfgs``, cut to the free coordinates at every step.
    """

    def find(state: _pairs.PairsState, params: Params, grads: Params) -> Params:
        reduced = reduce(trees.wide(params), grads)
        pairs = _pairs.restricted_to(reduced.free, state)
        factor = _pairs.scale_of(pairs, reduced.grad)
        # A select, since 0 times NaN would hide no gradient that is not finite.
        kept = jax.tree.map(
            lambda g, free: jnp.where(free, g, 0).astype(g.dtype), *reduced
        )
        newton = _pairs.times_inverse_hessian(pairs, kept, factor)
        rest = trees.scale(factor, reduced.grad)
        return trees.reverse(jax.tree.map(jnp.where, reduced.free, newton, rest))

    return _pairs.remembering(memory_size, _full_batch.tell, find)


def reduced_by_l1(prox: Proximal) -> Reduce:
    """The pseudo-gradient of an L1 penalty; free are coordinates that are not 0."""

    def reduce(params: Params, grads: Params) -> Reduced:
        weights = weights_of(prox, params)

        def pseudo_grad(p: Any, g: Any, weight: Any) -> Any:
            shrunk = jnp.sign(g) * jnp.maximum(jnp.abs(g) - weight, 0)
            return jnp.where(p == 0, shrunk, g + weight * jnp.sign(p)).astype(g.dtype)

        return Reduced(
            jax.tree.map(pseudo_grad, params, grads, weights),
            jax.tree.map(lambda p, weight: (p != 0) | (weight == 0), params, weights),
        )

    return reduce


# A coordinate is at its bound if it is no further from it than this, or than the
# residual of the projected gradient, in units of the params.
_NEAR = 1e-6


def reduced_by_bounds(prox: Proximal) -> Reduce:
    """The gradient itself; not free are coordinates that it pushes onto their bound."""

    def reduce(params: Params, grads: Params) -> Reduced:
        ahead = prox.prox(trees.difference(params, grads), 1.0)
        moves = trees.inexact_leaves(trees.difference(ahead, params))
        far = [jnp.max(jnp.abs(move), initial=0) for move in moves]
        near = functools.reduce(jnp.maximum, far, 0.0)
        near = jnp.minimum(near, _NEAR)

        def toward_bound(p: Any, g: Any) -> Any:
            if not trees.is_inexact(p):
                return p
            end = p - jnp.sign(g) * near.astype(p.dtype)
            least = jnp.nextafter(p, -jnp.sign(g) * jnp.inf)
            return jnp.where((end == p) & (g != 0), least, end)

        probe = jax.tree.map(toward_bound, params, grads)
        free = jax.tree.map(jnp.equal, prox.prox(probe, 1.0), probe)
        return Reduced(grads, free)

    return reduce
