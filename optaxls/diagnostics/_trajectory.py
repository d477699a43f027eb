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
    """Where training stands; the params before the last step, for the curvature.

    Adam's moments are kept beside the optimizer, whose direction may be another.
    """

    params: Any
    opt_state: Any
    before: Any
    moments: Any


def num_examples(data: Any) -> int:
    """The length of the leading axis."""
    return len(jax.tree.leaves(data)[0])


def mean_loss(loss_fn: LossFn) -> Callable[[Any, Any], jax.Array]:
    """The loss of a batch from that of an example."""
    return lambda params, batch: jax.vmap(loss_fn, (None, 0))(params, batch).mean()


def take(data: Any, rows: jax.Array) -> Any:
    """Examples by their rows."""
    return jax.tree.map(lambda leaf: leaf[rows], data)


def batch_rows(count: int, plan: Plan) -> jax.Array:
    """Rows of every batch, ``(>= steps, batch_size)``; a new order every epoch."""
    per_epoch = count // plan.batch_size
    epochs = -(-plan.steps[-1] // per_epoch)
    keys = jax.random.split(jax.random.key(plan.seed), epochs)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count))(keys)
    orders = orders[:, : per_epoch * plan.batch_size]
    return orders.reshape(-1, plan.batch_size)


def measured_rows(count: int, plan: Plan) -> jax.Array:
    """Rows of the examples that are measured, drawn without replacement."""
    order = jax.random.permutation(jax.random.key(plan.seed + 1), count)
    return order[: plan.num_measured]


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
    rows, measured = batch_rows(count, plan), measured_rows(count, plan)
    loss = mean_loss(loss_fn)
    step = make_step(loss, optimizer)
    adam = optax.scale_by_adam()

    @jax.jit
    def advance(place: _Place, data: Any, start: Any, stop: Any) -> _Place:
        def one(index: jax.Array, place: _Place) -> _Place:
            batch = take(data, rows[index])
            _, moments = adam.update(jax.grad(loss)(place.params, batch), place.moments)
            result = step(place.params, place.opt_state, batch)
            return _Place(result.params, result.opt_state, place.params, moments)

        return jax.lax.fori_loop(start, stop, one, place)

    @jax.jit
    def measure(place: _Place, data: Any, last: Any) -> Any:
        batch = take(data, rows[last])
        moved = jax.tree.map(jnp.subtract, place.params, place.before)
        mu, nu = place.moments.mu, place.moments.nu
        update = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + 1e-30), mu, nu)
        likeness = sign_likeness(update)
        return (
            gradient_sample(
                loss_fn,
                place.params,
                take(data, measured),
                population=count,
                chunk_size=plan.chunk_size,
            ),
            smoothness_along(lambda p: loss(p, batch), place.before, moved),
            jnp.where(place.moments.count > 0, likeness, jnp.nan),
        )

    place = _Place(params, optimizer.init(params), params, adam.init(params))
    points = []
    for start, stop in zip((0, *plan.steps), plan.steps, strict=False):
        place = advance(place, data, start, stop)
        points.append(measure(place, data, max(stop - 1, 0)))
    samples, curvature, likeness = jax.tree.map(lambda *x: jnp.stack(x), *points)
    last = take(data, rows[plan.steps[-1] - 1])
    return Trajectory(samples, measured, curvature, likeness, place.params, last)


class Pilot(NamedTuple):
    """How a short run of an optimizer ended.

    Attributes:
      values: losses of the measured examples, ``(num_measured,)``.
      num_trials: forward passes of its search, mean over steps.
    """

    values: jax.Array
    num_trials: jax.Array


def pilot(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Pilot:
    """Trains on the very batches of ``follow`` and measures at the end."""
    count = num_examples(data)
    rows, measured = batch_rows(count, plan), measured_rows(count, plan)
    step = make_step(mean_loss(loss_fn), optimizer)
    steps = plan.steps[-1]

    @jax.jit
    def run(params: Any, data: Any) -> Pilot:
        def one(carry: Any, which: jax.Array) -> Any:
            result = step(*carry, take(data, which))
            return (result.params, result.opt_state), result.metrics["num_trials"]

        start = (params, optimizer.init(params))
        (end, _), trials = jax.lax.scan(one, start, rows[:steps])
        values = jax.lax.map(
            lambda example: loss_fn(end, example),
            take(data, measured),
            batch_size=plan.chunk_size,
        )
        return Pilot(values, trials.mean())

    return run(params, data)
