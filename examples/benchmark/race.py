"""One race: an optimizer on a task, several step sizes and seeds, the same budget.

Cost is counted in forward passes: a gradient is three, a trial one. All get what
`num_steps` gradients cost; who makes trials makes fewer steps.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls
from examples.benchmark.contenders import Contender
from examples.benchmark.tasks import Task
from examples.common.budget import GRADIENT_COST

CHECKPOINTS = 20


class Curves(NamedTuple):
    """What races returned; leading axes: step sizes, seeds.

    Attributes:
        losses: full training loss before the first step and at each checkpoint.
        costs: forward passes spent by then.
        trials: trials of searches, in all.
        scores: test metric at the end.
        seconds: wall-clock of one step of one run.
        step_sizes: last step size, NaN where an optimizer has none.
    """

    losses: np.ndarray
    costs: np.ndarray
    trials: np.ndarray
    scores: np.ndarray
    seconds: float
    step_sizes: np.ndarray


def last_loss(curves: Curves) -> np.ndarray:
    """The full training loss at the end."""
    return curves.losses[..., -1]


class _Runner(NamedTuple):
    params: Any
    state: Any
    cost: jax.Array
    trials: jax.Array


def _trials(result: optaxls.StepResult) -> jax.Array:
    """Evaluations that this step's searches made, whosever they are."""
    ours = [v for k, v in result.metrics.items() if k.split("_2")[0] == "num_trials"]
    theirs = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(result.opt_state)
        if str(path[-1]) == ".num_linesearch_steps"
    ]
    return sum((jnp.asarray(v, jnp.int32) for v in [*ours, *theirs]), jnp.int32(0))


def _train(
    task: Task,
    contender: Contender,
    key: jax.Array,
    batches: jax.Array,
    size: jax.Array,
) -> tuple[Any, ...]:
    """A whole run; the params stay as they are once the budget is spent."""
    x, y = jnp.asarray(task.split.x_train), jnp.asarray(task.split.y_train)
    optimizer = contender.make(size, task)
    step = optaxls.make_step(task.mean_loss, optimizer)
    budget = GRADIENT_COST * task.num_steps

    def one(run: _Runner, rows: jax.Array) -> tuple[_Runner, None]:
        result = step(run.params, run.state, x[rows], y[rows])
        trials = _trials(result)
        cost = run.cost + GRADIENT_COST + contender.trial_cost * trials
        new = _Runner(result.params, result.opt_state, cost, run.trials + trials)
        # A step that does not fit into the budget is not made.
        return jax.tree.map(
            lambda a, b: jnp.where(cost <= budget, a, b), new, run
        ), None

    def stretch(run: _Runner, rows: jax.Array) -> tuple[_Runner, Any]:
        run, _ = jax.lax.scan(one, run, rows)
        at = contender.evaluate_at(run.state, run.params)
        return run, (task.mean_loss(at, x, y), run.cost)

    params = task.init(key)
    zero = jnp.int32(0)
    run = _Runner(params, optimizer.init(params), zero, zero)
    first = task.mean_loss(params, x, y)
    run, (losses, costs) = jax.lax.scan(
        stretch, run, batches.reshape(CHECKPOINTS, -1, batches.shape[-1])
    )
    score = task.test_score(contender.evaluate_at(run.state, run.params))
    last = optax.tree.get(run.state, "step_size", jnp.float32(jnp.nan))
    losses = jnp.concatenate([first[None], losses])
    return losses, jnp.concatenate([zero[None], costs]), run.trials, score, last


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

    def lane(given: Any) -> Any:
        return _train(task, contender, *given)

    def all_lanes(given: Any) -> Any:
        size = min(task.lanes, len(pairs))
        return jax.lax.map(lane, given, batch_size=size if size > 1 else None)

    compiled = jax.jit(all_lanes).lower(lanes).compile()
    start = time.perf_counter()
    results = jax.block_until_ready(compiled(lanes))
    seconds = (time.perf_counter() - start) / (len(pairs) * task.num_steps)
    shaped = [
        np.asarray(r).reshape(len(sizes), len(seeds), *r.shape[1:]) for r in results
    ]
    losses, costs, trials, scores, steps = shaped
    return Curves(losses, costs, trials, scores, seconds, steps)
