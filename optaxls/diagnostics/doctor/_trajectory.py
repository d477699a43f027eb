"""Trains an optimizer and measures gradients at a few points of the run.

A program is compiled for a loss and an optimizer, not for a number of steps. Runs with
other seeds and lengths use it again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls.diagnostics._shared.derivatives import value_and_gradient
from optaxls.diagnostics.gradients import GradientSample, gradient_sample
from optaxls.diagnostics.interpolation import smoothness_along
from optaxls.diagnostics.signs import sign_likeness
from optaxls.training.evaluation import eval_params
from optaxls.training.step import make_step

LossFn = Callable[[Any, Any], jax.Array]


class Plan(NamedTuple):
    """How long to train, on which batches, and which examples to measure.

    Attributes:
      steps: after how many steps to measure, ascending, the first 0.
      num_examples: examples in the data.
      batch_size: examples in a batch.
      num_measured: examples in a measurement.
      chunk_size: per-example gradients in memory at once.
      seed: seed of the batches, and of the draw of the measured examples.
    """

    steps: tuple[int, ...]
    num_examples: int
    batch_size: int
    num_measured: int
    chunk_size: int
    seed: int


class Trajectory(NamedTuple):
    """The measurements of a run; the first three have a leading axis of points.

    Attributes:
      samples: gradients of the measured examples.
      smoothness: curvature along the step before each point, on the batch of that step;
        NaN at the first point.
      sign_likeness: that of Adam's update; NaN at the first point.
      rows: rows of the measured examples in the data, ``(num_measured,)``.
      params: the params to evaluate at the end.
      batch: the last batch.
      pilot: how the run ended, to compare it with the candidates' runs.
    """

    samples: GradientSample
    smoothness: jax.Array
    sign_likeness: jax.Array
    rows: jax.Array
    params: Any
    batch: Any
    pilot: "Pilot"


class Pilot(NamedTuple):
    """How a short run of an optimizer ended.

    Attributes:
      values: losses of the measured examples, ``(num_measured,)``.
      num_trials: forward passes of its line search, mean over the steps.
    """

    values: jax.Array
    num_trials: jax.Array


class _Run(NamedTuple):
    """What training carries from one step to the next.

    ``before`` holds the params before the last step, for the curvature. ``moments`` are
    those of Adam, updated beside the optimizer, which may follow another direction.
    ``num_trials`` is a sum over the steps.
    """

    params: Any
    opt_state: Any
    before: Any
    moments: Any
    num_trials: jax.Array

    def evaluated(self) -> Any:
        """The params to evaluate: for some optimizers an average."""
        return eval_params(self.opt_state, self.params)


_ADAM = optax.scale_by_adam()


def mean_loss(loss_fn: LossFn) -> Callable[[Any, Any], jax.Array]:
    """The mean loss of a batch, from the loss of an example."""
    return lambda params, batch: jax.vmap(loss_fn, (None, 0))(params, batch).mean()


def take(data: Any, rows: jax.Array) -> Any:
    """The examples in the given rows."""
    return jax.tree.map(lambda leaf: leaf[rows], data)


def _epoch_rows(plan: Plan, epoch: int) -> jax.Array:
    """Rows of an epoch's batches in a new order, ``(steps, batch_size)``."""
    key = jax.random.fold_in(jax.random.key(plan.seed), epoch)
    steps = plan.num_examples // plan.batch_size
    # The last examples of the order fill no batch, and wait for another epoch.
    order = jax.random.permutation(key, plan.num_examples)
    return order[: steps * plan.batch_size].reshape(steps, plan.batch_size)


def _measured_rows(plan: Plan) -> jax.Array:
    """Rows of the measured examples, drawn without replacement."""
    # Another seed than that of the batches, or the two draws would be related.
    order = jax.random.permutation(jax.random.key(plan.seed + 1), plan.num_examples)
    return order[: plan.num_measured]


@partial(jax.jit, static_argnames=("loss_fn", "optimizer"))
def _advance(
    run: _Run, data: Any, rows: Any, start: Any, stop: Any, *, loss_fn, optimizer
) -> _Run:
    """Trains from step ``start`` to step ``stop`` of an epoch.

    Both are traced numbers, so that all parts of all epochs share one program.
    """
    loss = mean_loss(loss_fn)
    step = make_step(loss, optimizer)

    def one(index: jax.Array, run: _Run) -> _Run:
        batch = take(data, rows[index])
        # ``step`` takes the same gradient; XLA merges the two.
        _, grad = value_and_gradient(lambda p: loss(p, batch), run.params)
        _, moments = _ADAM.update(trees.inexact_leaves(grad), run.moments)
        result = step(run.params, run.opt_state, batch)
        # Optimizers without a line search report no trials.
        trials = run.num_trials + result.metrics.get("num_trials", 0)
        return _Run(result.params, result.opt_state, run.params, moments, trials)

    return jax.lax.fori_loop(start, stop, one, run)


@partial(jax.jit, static_argnames=("loss_fn", "population", "chunk_size"))
def _measure(
    run: _Run, examples: Any, batch: Any, *, loss_fn, population, chunk_size
) -> tuple[GradientSample, jax.Array, jax.Array]:
    """Gradients, curvature along the last step, sign likeness of Adam's update.

    The gradients are those at the params to evaluate. Where batches disagree, these
    come to rest at the minimum, and the params that are trained circle around it.
    """
    loss = mean_loss(loss_fn)
    moved = trees.difference(run.params, run.before)
    mu, nu = run.moments.mu, run.moments.nu
    # An entry that never had a gradient gives 0 / 1e-30, not 0 / 0.
    update = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + 1e-30), mu, nu)
    likeness = jnp.where(run.moments.count > 0, sign_likeness(update), jnp.nan)
    sample = gradient_sample(
        loss_fn, run.evaluated(), examples, population=population, chunk_size=chunk_size
    )
    curvature = smoothness_along(lambda p: loss(p, batch), run.before, moved)
    return sample, curvature, likeness


@partial(jax.jit, static_argnames=("loss_fn", "chunk_size"))
def _values(params: Any, examples: Any, *, loss_fn, chunk_size) -> jax.Array:
    """The losses of all examples, a chunk at a time."""
    return jax.lax.map(
        lambda example: loss_fn(params, example), examples, batch_size=chunk_size
    )


def _train(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Iterator[tuple[_Run, Any]]:
    """Yields the run and its last batch after each of ``plan.steps``."""
    per_epoch = plan.num_examples // plan.batch_size
    moments = _ADAM.init(trees.inexact_leaves(params))
    no_trials = jnp.zeros((), jnp.int32)
    run = _Run(params, optimizer.init(params), params, moments, no_trials)
    rows, done = _epoch_rows(plan, 0), 0
    # In parts that end at an epoch or a measurement, whichever comes first.
    for goal in plan.steps:
        while done < goal:
            epoch, start = divmod(done, per_epoch)
            if not start:
                rows = _epoch_rows(plan, epoch)
            stop = min(per_epoch, start + goal - done)
            run = _advance(
                run, data, rows, start, stop, loss_fn=loss_fn, optimizer=optimizer
            )
            done += stop - start
        yield run, take(data, rows[(done - 1) % per_epoch])


def _pilot(run: _Run, examples: Any, loss_fn: LossFn, plan: Plan) -> Pilot:
    """How a run ended, on the measured examples."""
    values = _values(
        run.evaluated(), examples, loss_fn=loss_fn, chunk_size=plan.chunk_size
    )
    return Pilot(values, run.num_trials / plan.steps[-1])


def follow(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Trajectory:
    """Trains up to the last of ``plan.steps`` and measures at each of them."""
    rows = _measured_rows(plan)
    examples = take(data, rows)
    points = []
    for run, batch in _train(loss_fn, params, data, optimizer, plan):
        measured = _measure(
            run, examples, batch, loss_fn=loss_fn, population=plan.num_examples,
            chunk_size=plan.chunk_size,
        )  # fmt: skip
        points.append(measured)
    samples, curvature, likeness = jax.tree.map(lambda *x: jnp.stack(x), *points)
    # By the program that measures the candidates, so that equal runs compare as equal.
    end = _pilot(run, examples, loss_fn, plan)
    return Trajectory(samples, curvature, likeness, rows, run.evaluated(), batch, end)


def pilot(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
) -> Pilot:
    """Trains on the same batches as ``follow``, and measures only at the end."""
    # The same last step, and so the same batches, without a stop in between.
    plan = plan._replace(steps=plan.steps[-1:])
    ((run, _),) = _train(loss_fn, params, data, optimizer, plan)
    examples = take(data, _measured_rows(plan))
    return _pilot(run, examples, loss_fn, plan)
