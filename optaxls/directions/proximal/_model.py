"""The direction to the minimum of a quadratic model of the loss, with a penalty."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.directions.curvature import _full_batch, _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.directions.proximal import _forward
from optaxls.parts.paths._penalised import penalty_change
from optaxls.parts.searches._loop import while_loop
from optaxls.parts.types import Params, Proximal

# As many losses of the model are looked at, and full steps may lead up to the largest.
_WINDOW = 10
# The model is solved when the residual has fallen to this share of the first one.
_SHARE = 1e-3


class _Progress(NamedTuple):
    """A point, the gradient of the model there, and the next step size.

    ``values`` are the last losses of the model with the penalty, the newest first, and
    ``best`` is the point of the smallest one so far. ``residual`` is the length of the
    last proximal gradient step over its size, and ``num_steps`` is int32.
    """

    place: Params
    slope: Params
    size: jax.Array
    values: jax.Array
    best: Params
    best_value: jax.Array
    residual: jax.Array
    num_steps: jax.Array


def _advanced(
    prox: Proximal, product: Callable[[Params], Params], progress: _Progress
) -> _Progress:
    """A proximal gradient step, cut where it would climb above the last losses.

    Along a segment the model is a parabola, and the penalty lies below its chord. The
    minimum of both is known, so that no step is searched for. The curvature there gives
    the next step size, that of Barzilai and Borwein.
    """
    place, slope, size, values, best, best_value, _, num_steps = progress
    dtype = size.dtype
    far = trees.difference(place, trees.scale(size, slope))
    ahead = prox.prox(far, size)
    move = trees.difference(ahead, place)
    bent = product(move)
    curvature = _pairs.product(move, bent, dtype)
    change = _pairs.product(slope, move, dtype)
    change = change + penalty_change(prox, place, move).astype(dtype)
    # It is known to be at most this; near a minimum rounding would hide it.
    length = trees.sqnorm(move, dtype)
    change = jnp.minimum(change, -length / size)
    bends = curvature > 0
    least = jnp.clip(-change / jnp.where(bends, curvature, 1), 0, 1)
    full = values[0] + change + 0.5 * curvature <= jnp.max(values)
    share = jnp.where(full | ~bends, change < 0, least).astype(dtype)
    value = values[0] + share * change + 0.5 * share**2 * curvature
    secant = jnp.where(bends, length / jnp.where(bends, curvature, 1), size)
    place = trees.add_scaled(place, share, move, where=share > 0)
    better = value < best_value
    return _Progress(
        place,
        trees.add_scaled(slope, share, bent, where=share > 0),
        jnp.where(secant > 0, secant, size),
        jnp.roll(values, 1).at[0].set(value),
        trees.select(better, place, best),
        jnp.where(better, value, best_value),
        jnp.sqrt(length) / size,
        num_steps + 1,
    )


def model_step(prox: Proximal, memory_size: int, inner_steps: int) -> DirectionPair:
    """The displacement to the minimum of the L-BFGS model with the penalty, nearly."""
    checks.require_integer("inner_steps", inner_steps, 1)

    def find(state: _pairs.PairsState, params: Params, grads: Params) -> Params:
        start = trees.wide(params)
        product, scale = _forward.hessian_of(state, grads)
        zero, none = jnp.zeros_like(scale), jnp.zeros_like(scale, jnp.int32)
        values = jnp.full_like(zero, -jnp.inf, shape=_WINDOW).at[0].set(0)
        first = _Progress(start, grads, scale, values, start, zero, zero, none)
        first = _advanced(prox, product, first)
        least = _SHARE * first.residual

        def goes_on(progress: _Progress) -> jax.Array:
            return (progress.residual > least) & (progress.num_steps < inner_steps)

        advance = functools.partial(_advanced, prox, product)
        end = while_loop(goes_on, advance, first)
        return trees.difference(end.best, start)

    return _pairs.remembering(memory_size, _full_batch.tell, find)
