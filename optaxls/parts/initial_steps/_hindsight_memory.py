"""What ``hindsight`` remembers of the params, the slopes and the losses so far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.robust import at_most_tenfold
from optaxls.parts.types import Origin

# So many of the first losses tell where the loss was before training.
_EARLY = 10


class HindsightMemory(NamedTuple):
    """What ``hindsight`` remembers: a mean of the params, averages and step sizes.

    ``mean_params``: the mean of the params at all steps so far, the j-th with weight j.
    ``climb``: whether the offset of the params from that mean goes down on a new batch
    (-1) or climbs (1), a running mean. ``mean_slope`` and ``mean_size``: those of the
    slope along the offset, in loss units, and of the absolute values of its terms.
    ``climbed``: whether a climb was ever above the tolerance.

    ``last_value``: the loss of the last batch. ``mean_change``: the typical absolute
    change of the loss from one batch to the next. ``mean_value``: the running mean of
    the loss. ``early_value``: that of the first ten batches, and anew after a rise.

    ``hindsight_step``: the step size that the next correction starts from.
    ``recent_step``: the longest step size taken lately. ``num_averaged``: the number of
    iterates in ``mean_params``. ``num_steps``: that of the steps since the start, or
    since the loss last rose above it.
    """

    mean_params: Any
    climb: jax.Array
    mean_slope: jax.Array
    mean_size: jax.Array
    climbed: jax.Array
    last_value: jax.Array
    mean_change: jax.Array
    mean_value: jax.Array
    early_value: jax.Array
    hindsight_step: jax.Array
    recent_step: jax.Array
    num_averaged: jax.Array
    num_steps: jax.Array


def new_memory(params: Any, initial_step_size: float | None) -> HindsightMemory:
    """The memory before the first step; a step size of 0 is one still to be found."""
    zero = jnp.zeros((), trees.scalar_dtype(params))
    first = jnp.asarray(
        0 if initial_step_size is None else initial_step_size, zero.dtype
    )
    none, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    mean = trees.wide(params)
    return HindsightMemory(
        mean, zero, zero, zero, no, zero, zero, zero, zero, first, zero, none, none
    )


def mean_with(memory: HindsightMemory, params: Any) -> Any:
    """The mean of the iterates with ``params`` included; integer leaves do not change.

    Of k iterates the newest has the weight 2 / (k + 1), so the j-th has one in
    proportion to j. The params are read when the next step starts, and so include what
    transformations chained after this one added to the update. The mean is in float32
    at least, since near the end of a run a bfloat16 mean would not move.
    """
    count = jnp.maximum(memory.num_averaged, 1).astype(memory.climb.dtype)
    return trees.toward(memory.mean_params, 2 / (count + 1), params)


def _climb(memory: HindsightMemory, origin: Origin) -> tuple[jax.Array, jax.Array]:
    """Whether the offset from the mean goes down on this batch (-1) or climbs (1).

    It is the inner product of gradient and offset, over the sum of the absolute values
    of its terms, which comes second.
    """
    dtype = memory.climb.dtype
    offset = trees.difference(origin.params, memory.mean_params)
    grad = origin.grad if origin.reduced_grad is None else origin.reduced_grad
    slope, size = trees.inner_and_abs(grad, offset, dtype)
    # Without any offset rounding has undone the steps: they were too short.
    return jnp.where(size > 0, slope / jnp.where(size > 0, size, 1), -1), size


def with_climb(memory: HindsightMemory, origin: Origin, decay: Any) -> HindsightMemory:
    """The memory with a new batch in the running means: plain ones of the first few."""
    climb, size = _climb(memory, origin)
    count = jnp.maximum(memory.num_averaged, 1).astype(climb.dtype)
    kept = jnp.minimum(decay, 1 - 1 / count)
    typical = memory.mean_size
    size = jnp.where(size > 0, at_most_tenfold(size, typical), typical)
    return memory._replace(
        climb=kept * memory.climb + (1 - kept) * climb,
        mean_slope=kept * memory.mean_slope + (1 - kept) * climb * size,
        mean_size=kept * typical + (1 - kept) * size,
    )


def larger_climb(memory: HindsightMemory, tolerance: Any) -> jax.Array:
    """The larger climb of two: where batches count alike, and by their gradients.

    A network that fits most batches has a few with a large loss. The first climb hardly
    sees those, and steps that are far too long for them spoil all others. Half a
    tolerance more is allowed there: steps that are a little too long are no harm.
    """
    size = memory.mean_size
    by_size = jnp.where(size > 0, memory.mean_slope / jnp.where(size > 0, size, 1), -1)
    return jnp.maximum(memory.climb, by_size - tolerance / 2)


def with_value(
    memory: HindsightMemory, value: jax.Array, decay: Any
) -> HindsightMemory:
    """The memory with a new loss, and its change from the loss of the batch before."""
    old = memory.mean_change
    change = jnp.abs(value - memory.last_value)
    mean = decay * old + (1 - decay) * at_most_tenfold(change, old)
    # A change of exactly 0 is a rounded one. It would make later steps short.
    mean = jnp.where(change > 0, mean, old)
    mean = jnp.where(old > 0, mean, change)
    # The plain mean of the first few.
    count = memory.num_steps.astype(old.dtype) + 1
    kept = jnp.minimum(decay, 1 - 1 / count)
    above = at_most_tenfold(value - memory.mean_value, mean)
    mean_value = memory.mean_value + (1 - kept) * above
    early = jnp.where(count > _EARLY, memory.early_value, mean_value)
    return memory._replace(
        last_value=value, mean_change=mean, mean_value=mean_value, early_value=early
    )
