"""Trains for a while and measures at a few points on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls.diagnostics.gradient_sample import GradientSample, gradient_sample
from optaxls.diagnostics.interpolation import smoothness_along
from optaxls.diagnostics.shape import sign_likeness
from optaxls.training import make_step

LossFn = Callable[[Any, Any], jax.Array]


class Plan(NamedTuple):
    """How long to train, on which batches, and what to measure on.

    Attributes:
      steps: after how many steps to measure, ascending, the first 0.
      batch_size: examples in a batch.
      num_measured: examples in a measurement.
      chunk_size: per-example gradients in memory at once.
      seed: of the batches and of the examples measured.
    """

    steps: tuple[int, ...]
    batch_size: int
    num_measured: int
    chunk_size: int
    seed: int


class Trajectory(NamedTuple):
    """What was measured; arrays have a leading axis of points.

    Attributes:
      samples: gradients of the measured examples.
      rows: which examples these are, ``(num_measured,)``.
      smoothness: along the step before each point, on its batch; NaN at the first.
      sign_likeness: of Adam's update; NaN at the first.
      params: at the end.
      batch: the last one.
    """

    samples: GradientSample
    rows: jax.Array
    smoothness: jax.Array
    sign_likeness: jax.Array
    params: Any
    batch: Any


class _Place(NamedTuple):
    """Where training stands; the params before the last step, for the curvature."""

    params: Any
    opt_state: Any
    before: Any


def num_examples(data: Any) -> int:
    """The length of the leading axis."""
    return len(jax.tree.leaves(data)[0])


def mean_loss(loss_fn: LossFn) -> Callable[[Any, Any], jax.Array]:
    """The loss of a batch from that of an example."""
    return lambda params, batch: jax.vmap(loss_fn, (None, 0))(params, batch).mean()


def _batch_rows(count: int, plan: Plan) -> jax.Array:
    """Rows of every batch, ``(steps, batch_size)``; orders drawn anew every epoch."""
    per_epoch = count // plan.batch_size
    epochs = max(-(-plan.steps[-1] // per_epoch), 1)
    keys = jax.random.split(jax.random.key(plan.seed), epochs)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count))(keys)
    orders = orders[:, : per_epoch * plan.batch_size]
    return orders.reshape(-1, plan.batch_size)


def follow(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Trajectory:
    """Trains to the last of ``plan.steps`` and measures at each of them.

    Two programs are compiled, whatever the number of points.
    """
    count = num_examples(data)
    rows = _batch_rows(count, plan)
    order = jax.random.permutation(jax.random.key(plan.seed + 1), count)
    measured_rows = jnp.sort(order[: plan.num_measured])
    loss = mean_loss(loss_fn)
    step = make_step(loss, optimizer)
    # Adam's moments are kept beside the optimizer, whose direction may be another.
    adam = optax.scale_by_adam()

    def take(data: Any, which: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[which], data)

    @jax.jit
    def advance(place: _Place, moments: Any, data: Any, start: Any, stop: Any) -> Any:
        def one(index: jax.Array, carry: tuple[_Place, Any]) -> tuple[_Place, Any]:
            place, moments = carry
            batch = take(data, rows[index])
            grad = jax.grad(loss, allow_int=True)(place.params, batch)
            _, moments = adam.update(grad, moments)
            result = step(place.params, place.opt_state, batch)
            return _Place(result.params, result.opt_state, place.params), moments

        return jax.lax.fori_loop(start, stop, one, (place, moments))

    @jax.jit
    def measure(place: _Place, moments: Any, data: Any, index: Any) -> Any:
        batch = take(data, rows[index])
        displacement = jax.tree.map(jnp.subtract, place.params, place.before)
        sample = gradient_sample(
            loss_fn,
            place.params,
            take(data, measured_rows),
            population=count,
            chunk_size=plan.chunk_size,
        )
        curvature = smoothness_along(lambda p: loss(p, batch), place.before, displacement)
        update = jax.tree.map(
            lambda m, v: m / (jnp.sqrt(v) + 1e-30), moments.mu, moments.nu
        )
        likeness = jnp.where(moments.count > 0, sign_likeness(update), jnp.nan)
        return sample, curvature, likeness

    place, moments = _Place(params, optimizer.init(params), params), adam.init(params)
    points = []
    for start, stop in zip((0, *plan.steps), plan.steps, strict=False):
        place, moments = advance(place, moments, data, start, stop)
        points.append(measure(place, moments, data, max(stop - 1, 0)))
    samples, curvature, likeness = jax.tree.map(lambda *x: jnp.stack(x), *points)
    last = take(data, rows[plan.steps[-1] - 1])
    return Trajectory(samples, measured_rows, curvature, likeness, place.params, last)
