"""Trains for a while and measures at a few points on the way.

The programs are compiled for a loss and an optimizer, not for a length: runs of other
seeds and lengths use them again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls.diagnostics.gradient_sample import GradientSample, gradient_sample
from optaxls.diagnostics.interpolation import smoothness_along
from optaxls.diagnostics.shape import sign_likeness
from optaxls.training.step import make_step

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
      pilot: the same run as a candidate.
    """

    samples: GradientSample
    rows: jax.Array
    smoothness: jax.Array
    sign_likeness: jax.Array
    params: Any
    batch: Any
    pilot: "Pilot"


class Pilot(NamedTuple):
    """How a short run of an optimizer ended.

    Attributes:
      values: losses of the measured examples, ``(num_measured,)``.
      num_trials: forward passes of its search, mean over steps.
    """

    values: jax.Array
    num_trials: jax.Array


class _Place(NamedTuple):
    """Where training stands.

    ``before``: the params before the last step, for the curvature. ``moments``: Adam's,
    beside the optimizer, whose direction may be another.
    """

    params: Any
    opt_state: Any
    before: Any
    moments: Any
    num_trials: jax.Array


_ADAM = optax.scale_by_adam()


def num_examples(data: Any) -> int:
    """The length of the leading axis."""
    return len(jax.tree.leaves(data)[0])


def mean_loss(loss_fn: LossFn) -> Callable[[Any, Any], jax.Array]:
    """The loss of a batch from that of an example."""
    return lambda params, batch: jax.vmap(loss_fn, (None, 0))(params, batch).mean()


def take(data: Any, rows: jax.Array) -> Any:
    """Examples by their rows."""
    return jax.tree.map(lambda leaf: leaf[rows], data)


def _epoch_rows(count: int, plan: Plan, epoch: int) -> jax.Array:
    """Rows of an epoch's batches, ``(steps, batch_size)``, in a new order."""
    key = jax.random.fold_in(jax.random.key(plan.seed), epoch)
    steps = count // plan.batch_size
    order = jax.random.permutation(key, count)[: steps * plan.batch_size]
    return order.reshape(steps, plan.batch_size)


def _measured_rows(count: int, plan: Plan) -> jax.Array:
    """Rows of the examples that are measured, drawn without replacement."""
    order = jax.random.permutation(jax.random.key(plan.seed + 1), count)
    return order[: plan.num_measured]


@partial(jax.jit, static_argnames=("loss_fn", "optimizer"))
def _advance(
    place: _Place, data: Any, rows: Any, start: Any, stop: Any, *, loss_fn, optimizer
) -> _Place:
    """The steps from ``start`` to ``stop`` of an epoch."""
    loss = mean_loss(loss_fn)
    step = make_step(loss, optimizer)

    def one(index: jax.Array, place: _Place) -> _Place:
        batch = take(data, rows[index])
        # XLA computes the gradient once for the two.
        grad = jax.grad(loss)(place.params, batch)
        _, moments = _ADAM.update(grad, place.moments)
        result = step(place.params, place.opt_state, batch)
        trials = place.num_trials + result.metrics.get("num_trials", 0)
        return _Place(result.params, result.opt_state, place.params, moments, trials)

    return jax.lax.fori_loop(start, stop, one, place)


@partial(jax.jit, static_argnames=("loss_fn", "population", "chunk_size"))
def _measure(
    place: _Place, examples: Any, batch: Any, *, loss_fn, population, chunk_size
) -> tuple[GradientSample, jax.Array, jax.Array]:
    """Gradients, the curvature of the last step, the likeness of Adam to a sign."""
    loss = mean_loss(loss_fn)
    moved = jax.tree.map(jnp.subtract, place.params, place.before)
    mu, nu = place.moments.mu, place.moments.nu
    update = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + 1e-30), mu, nu)
    likeness = jnp.where(place.moments.count > 0, sign_likeness(update), jnp.nan)
    sample = gradient_sample(
        loss_fn, place.params, examples, population=population, chunk_size=chunk_size
    )
    curvature = smoothness_along(lambda p: loss(p, batch), place.before, moved)
    return sample, curvature, likeness


@partial(jax.jit, static_argnames=("loss_fn", "chunk_size"))
def _values(params: Any, examples: Any, *, loss_fn, chunk_size) -> jax.Array:
    """The loss of every example."""
    return jax.lax.map(
        lambda example: loss_fn(params, example), examples, batch_size=chunk_size
    )


def _train(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Iterator[tuple[_Place, Any]]:
    """The place, and the batch that led there, after each of ``plan.steps``."""
    count = num_examples(data)
    per_epoch = count // plan.batch_size
    no_trials = jnp.zeros((), jnp.int32)
    place = _Place(
        params, optimizer.init(params), params, _ADAM.init(params), no_trials
    )
    rows, done = _epoch_rows(count, plan, 0), 0
    for goal in plan.steps:
        while done < goal:
            epoch, start = divmod(done, per_epoch)
            if not start:
                rows = _epoch_rows(count, plan, epoch)
            stop = min(per_epoch, start + goal - done)
            place = _advance(
                place, data, rows, start, stop, loss_fn=loss_fn, optimizer=optimizer
            )
            done += stop - start
        yield place, take(data, rows[(done - 1) % per_epoch])


def _pilot(place: _Place, examples: Any, loss_fn: LossFn, plan: Plan) -> Pilot:
    values = _values(
        place.params, examples, loss_fn=loss_fn, chunk_size=plan.chunk_size
    )
    return Pilot(values, place.num_trials / plan.steps[-1])


def follow(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Trajectory:
    """Trains to the last of ``plan.steps`` and measures at each of them."""
    count = num_examples(data)
    rows = _measured_rows(count, plan)
    examples = take(data, rows)
    points = []
    for place, batch in _train(loss_fn, params, data, optimizer, plan):
        measured = _measure(
            place, examples, batch, loss_fn=loss_fn, population=count,
            chunk_size=plan.chunk_size,
        )  # fmt: skip
        points.append(measured)
    samples, curvature, likeness = jax.tree.map(lambda *x: jnp.stack(x), *points)
    pilot = _pilot(place, examples, loss_fn, plan)
    return Trajectory(samples, rows, curvature, likeness, place.params, batch, pilot)


def pilot(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Pilot:
    """Trains on the very batches of ``follow`` and measures at the end."""
    plan = plan._replace(steps=plan.steps[-1:])
    ((place, _),) = _train(loss_fn, params, data, optimizer, plan)
    examples = take(data, _measured_rows(num_examples(data), plan))
    return _pilot(place, examples, loss_fn, plan)
