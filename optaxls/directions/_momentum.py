"""Momentum: optax's, and one for after a search, which rests where losses climb."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.loss import as_scalar


def trace(decay: Any, nesterov: bool = False) -> optax.GradientTransformation:
    """``optax.trace`` that keeps every leaf's dtype.

    In the first step optax's own turns integer leaves of its state into floats. That
    costs a second compilation, and ``lax.scan`` refuses such a state.
    """
    inner = optax.trace(decay, nesterov)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        new, new_state = inner.update(updates, state, params)
        return trees.cast_like(new, updates), trees.cast_like(new_state, state)

    return optax.GradientTransformation(inner.init, update)


# Losses that count as those of the start; weight of the newest in the mean.
_NUM_FIRST = 10
_NEWEST = 0.1


class TraceState(NamedTuple):
    """The last updates, and what the losses say of the momentum.

    ``decay_factor`` is halved whenever the losses climbed; ``resting`` says that they
    have not come down again.
    """

    trace: Any
    num_seen: jax.Array
    mean_value: jax.Array
    largest_first: jax.Array
    smallest_value: jax.Array
    decay_factor: jax.Array
    resting: jax.Array


def _judged(state: TraceState, value: jax.Array) -> TraceState:
    """With the loss of one more batch.

    Momentum rests once the mean loss lies above the largest of the first ten, by as
    much as that lies above the smallest of all. It rests until the mean is below again.
    Shifted and scaled losses give the same answer.
    """
    seen = trees.one_more(state.num_seen)
    rate = jnp.maximum(1 / seen.astype(value.dtype), _NEWEST)
    first = seen <= _NUM_FIRST
    largest = jnp.where(
        first, jnp.maximum(state.largest_first, value), state.largest_first
    )
    mean = state.mean_value + rate * (value - state.mean_value)
    smallest = jnp.minimum(state.smallest_value, value)
    climbed = ~first & (mean > largest + (largest - smallest))
    resting = jnp.where(state.resting, mean > largest, climbed)
    halved = resting & ~state.resting
    new = state._replace(
        num_seen=seen,
        mean_value=mean,
        largest_first=largest,
        smallest_value=smallest,
        decay_factor=jnp.where(halved, 0.5, 1) * state.decay_factor,
        resting=resting,
    )
    return trees.select(jnp.isfinite(value), new, state)


def resting_trace(
    decay: Any, nesterov: bool = False
) -> optax.GradientTransformationExtraArgs:
    """``optax.trace`` of updates that a search made, as long as it does no harm.

    The search tests its own step only. Where its steps are long, as near interpolation,
    momentum can make every loss climb without end. Then it rests until they have come
    down, and is half as strong ever after. Every leaf keeps its dtype. ``update`` reads
    ``value``.
    """

    def init(params: Any) -> TraceState:
        zero = jnp.zeros((), trees.scalar_dtype(params))
        state = TraceState(
            trace=jax.tree.map(jnp.zeros_like, params),
            num_seen=jnp.zeros((), jnp.int32),
            mean_value=zero,
            largest_first=zero - jnp.inf,
            smallest_value=zero + jnp.inf,
            decay_factor=zero + 1,
            resting=jnp.zeros((), bool),
        )
        return trees.fresh(state)

    def update(
        updates: Any, state: Any, params: Any = None, *, value: Any = None, **extra: Any
    ) -> tuple[Any, TraceState]:
        del params, extra
        value = as_scalar(value, state.mean_value.dtype)
        new = trees.cast_like(_judged(state, value), state)
        factor = jnp.where(new.resting, 0, decay * new.decay_factor)
        factor = jnp.asarray(factor, new.mean_value.dtype)
        kept = trees.add_scaled(updates, factor, state.trace, where=~new.resting)
        moved = kept
        if nesterov:
            moved = trees.add_scaled(updates, factor, kept, where=~new.resting)
        return moved, new._replace(trace=trees.cast_like(kept, state.trace))

    return optax.GradientTransformationExtraArgs(init, update)
