"""One race: an optimizer on a task, several step sizes and seeds, the same budget.

Cost is counted in forward passes: a gradient is three, a trial one. All get what
`num_steps` gradients cost; who makes trials makes fewer steps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls
from examples.benchmark.contenders import Contender
from examples.benchmark.task import Task
from examples.common.budget import GRADIENT_COST

CHECKPOINTS = 20


class Curves(NamedTuple):
    """What races returned; leading axes: step sizes, seeds.

    Losses are those at the params that an optimizer hands to its user. The last axis
    begins before the first step and goes on with the checkpoints.

    Attributes:
        losses: training loss in evaluation mode, on the rows that are told.
        valid: validation loss.
        costs: forward passes spent by then.
        trials: trials of searches, in all.
        step_sizes: last step size, NaN where an optimizer has none.
    """

    losses: np.ndarray
    valid: np.ndarray
    costs: np.ndarray
    trials: np.ndarray
    step_sizes: np.ndarray


def last_loss(curves: Curves) -> np.ndarray:
    """The training loss at the end."""
    return curves.losses[..., -1]


def last_valid(curves: Curves) -> np.ndarray:
    """The validation loss at the end."""
    return curves.valid[..., -1]


def best_valid(curves: Curves) -> np.ndarray:
    """The validation loss at the best checkpoint; none is before the first step."""
    finite = np.where(np.isfinite(curves.valid), curves.valid, np.inf)
    return finite[..., 1:].min(-1)


class _Runner(NamedTuple):
    params: Any
    statistics: dict[str, Any]
    state: Any
    cost: jax.Array
    trials: jax.Array


class _Data(NamedTuple):
    x_train: jax.Array
    y_train: jax.Array
    x_valid: jax.Array
    y_valid: jax.Array


def _trials(result: optaxls.StepResult) -> jax.Array:
    """Evaluations that this step's searches made, whosever they are."""
    ours = [v for k, v in result.metrics.items() if k.split("_2")[0] == "num_trials"]
    theirs = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(result.opt_state)
        if str(path[-1]) == ".num_linesearch_steps"
    ]
    return sum((jnp.asarray(v, jnp.int32) for v in [*ours, *theirs]), jnp.int32(0))


def _told(
    task: Task, data: _Data, params: Any, statistics: Mapping[str, Any]
) -> tuple[jax.Array, jax.Array]:
    """Training and validation loss."""
    variables, rows = {"params": params, **statistics}, task.rows_told
    train = task.mean_loss(variables, data.x_train[:rows], data.y_train[:rows])
    return train, task.problem.valid_loss(variables, data.x_valid, data.y_valid)


def _batch_loss(task: Task, data: _Data, key: jax.Array) -> Callable[..., Any]:
    """The loss of a batch, and its new statistics, from its rows and its number."""

    def loss(params: Any, statistics: Any, rows: jax.Array, number: jax.Array) -> Any:
        variables, drawn = (
            {"params": params, **statistics},
            jax.random.fold_in(key, number),
        )
        return task.problem.loss(
            variables, data.x_train[rows], data.y_train[rows], drawn
        )

    return loss


def _train(
    task: Task,
    contender: Contender,
    data: _Data,
    key: jax.Array,
    batches: jax.Array,
    size: jax.Array,
) -> tuple[Any, ...]:
    """A whole run; the params stay as they are once the budget is spent."""
    optimizer = contender.make(size, task)
    budget = GRADIENT_COST * task.num_steps

    loss = _batch_loss(task, data, key)
    step = optaxls.make_step(loss, optimizer, has_aux=True)

    def one(run: _Runner, batch: tuple[jax.Array, jax.Array]) -> tuple[_Runner, None]:
        result = step(run.params, run.state, run.statistics, *batch)
        trials = _trials(result)
        cost = run.cost + GRADIENT_COST + contender.trial_cost * trials
        new = _Runner(
            result.params, result.aux, result.opt_state, cost, run.trials + trials
        )
        # A step that does not fit into the budget is not made.
        return jax.tree.map(
            lambda a, b: jnp.where(cost <= budget, a, b), new, run
        ), None

    def stretch(run: _Runner, batch: tuple[jax.Array, jax.Array]) -> Any:
        run, _ = jax.lax.scan(one, run, batch)
        at, statistics = contender.evaluate_at(run.state, run.params), run.statistics
        if statistics:
            # They belong to the params of training: the batches are seen again.
            statistics, _ = jax.lax.scan(
                lambda old, again: (loss(at, old, *again)[1], None), statistics, batch
            )
        return run, (*_told(task, data, at, statistics), run.cost)

    variables = dict(task.problem.init(key, data.x_train[:1]))
    params, zero = contender.begin_with(variables.pop("params")), jnp.int32(0)
    run = _Runner(params, variables, optimizer.init(params), zero, zero)
    first = (*_told(task, data, params, variables), zero)
    numbered = (batches, jnp.arange(task.num_steps))
    run, told = jax.lax.scan(
        stretch,
        run,
        jax.tree.map(lambda a: a.reshape(CHECKPOINTS, -1, *a.shape[1:]), numbered),
    )
    told = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, told)
    last = optax.tree.get(run.state, "step_size", jnp.float32(jnp.nan))
    return *told, run.trials, last


def run(task: Task, contender: Contender, seeds: Sequence[int]) -> Curves:
    """All step sizes of a contender on all seeds."""
    sizes = np.asarray(contender.step_sizes, np.float32)
    pairs = [(size, seed) for size in sizes for seed in seeds]
    batches = {seed: task.batches(seed) for seed in seeds}
    lanes = (
        jnp.stack([jax.random.key(seed) for _, seed in pairs]),
        jnp.asarray(np.stack([batches[seed] for _, seed in pairs])),
        jnp.asarray([size for size, _ in pairs]),
    )

    def all_lanes(given: Any, data: _Data) -> Any:
        size = min(task.lanes, len(pairs))
        return jax.lax.map(
            lambda lane: _train(task, contender, data, *lane),
            given,
            batch_size=size if size > 1 else None,
        )

    data = _Data(*map(jnp.asarray, task.split))
    results = jax.jit(all_lanes)(lanes, data)
    shaped = [
        np.asarray(r).reshape(len(sizes), len(seeds), *r.shape[1:]) for r in results
    ]
    losses, valid, costs, trials, steps = shaped
    return Curves(losses, valid, costs, trials, steps)
