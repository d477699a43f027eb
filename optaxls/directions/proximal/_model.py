"""The direction to the minimum of a quadratic model of the loss, with a penalty."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.directions.curvature import _forward, _full_batch, _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.types import Params, Proximal


class _Progress(NamedTuple):
    """A point, the gradient of the model there, and the next step size."""

    place: Params
    slope: Params
    size: jax.Array


def _advanced(
    prox: Proximal, product: Callable[[Params], Params], progress: _Progress
) -> _Progress:
    """A proximal gradient step, cut to the minimum of a bound along its segment.

    Along a segment the model is a parabola, and the penalty lies below its chord. The
    minimum of both is known, so that no step is searched for. The curvature there gives
    the next step size, that of Barzilai and Borwein.
    """
    place, slope, size = progress
    dtype = size.dtype
    far = trees.difference(place, trees.scale(size, slope))
    ahead = prox.prox(far, size)
    move = trees.difference(ahead, place)
    bent = product(move)
    curvature = _pairs.product(move, bent, dtype)
    change = _pairs.product(slope, move, dtype)
    change = change + (prox.penalty(ahead) - prox.penalty(place)).astype(dtype)
    bends = curvature > 0
    least = -change / jnp.where(bends, curvature, 1)
    share = jnp.where(bends, jnp.clip(least, 0, 1), change < 0).astype(dtype)
    length = trees.sqnorm(move, dtype)
    secant = jnp.where(bends, length / jnp.where(bends, curvature, 1), size)
    return _Progress(
        trees.add_scaled(place, share, move, where=share > 0),
        trees.add_scaled(slope, share, bent, where=share > 0),
        jnp.where(secant > 0, secant, size),
    )


def model_step(prox: Proximal, memory_size: int, inner_steps: int) -> DirectionPair:
    """The displacement to the minimum of the L-BFGS model with the penalty, nearly."""
    checks.require_integer("inner_steps", inner_steps, 1)

    def find(state: _pairs.PairsState, params: Params, grads: Params) -> Params:
        start = trees.wide(params)
        product, scale = _forward.hessian_of(state, grads)

        def body(_: jax.Array, progress: _Progress) -> _Progress:
            return _advanced(prox, product, progress)

        first = _Progress(start, grads, scale)
        end = jax.lax.fori_loop(0, inner_steps, body, first)
        return trees.difference(end.place, start)

    return _pairs.remembering(memory_size, _full_batch.tell, find)
