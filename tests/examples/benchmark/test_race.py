"""A race is paid step by step, and ends when the budget does."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from examples.benchmark import contenders, race
from examples.benchmark.arrays import Split
from examples.benchmark.contenders import Contender
from examples.benchmark.task import Problem, Task
from tests.examples.benchmark.tiny_task import STEPS, tiny_task


@pytest.mark.parametrize("rows, batch_size", [(50, 8), (16, 8), (10, 10)])
def test_no_row_comes_twice_in_an_epoch(rows, batch_size):
    task = tiny_task(rows, batch_size=batch_size)
    batches, per_epoch = task.batches(seed=1), rows // batch_size
    assert batches.shape == (STEPS, batch_size)
    for start in range(0, STEPS, per_epoch):
        seen = batches[start : start + per_epoch].ravel()
        assert len(set(seen)) == len(seen) and seen.max() < rows
    assert (batches != task.batches(seed=2)).any()


def by_hand(optimizer: Any, task: Task, seed: int) -> tuple[float, int, int]:
    """Loss, cost and trials of a run without the steps that it could not pay."""
    x, y = map(jnp.asarray, task.split[:2])
    step = jax.jit(optaxls.make_step(task.mean_loss, optimizer))
    params = task.init(jax.random.key(seed))
    state, cost, trials = optimizer.init(params), 0, 0
    for rows in task.batches(seed):
        result = step(params, state, x[rows], y[rows])
        tried = int(result.metrics.get("num_trials", 0))
        if cost + 3 + tried > 3 * task.num_steps:
            continue
        params, state = result.params, result.opt_state
        cost, trials = cost + 3 + tried, trials + tried
    return float(task.mean_loss(params, x, y)), cost, trials


class Searched(NamedTuple):
    """The count that `race` reads from optax's own searches."""

    num_linesearch_steps: jax.Array


def two_trials(step_size: float) -> optax.GradientTransformation:
    """Gradient descent that says it made two trials."""
    return optax.GradientTransformation(
        lambda params: Searched(jnp.int32(0)),
        lambda updates, state, params=None: (
            jax.tree.map(lambda u: -step_size * u, updates),
            Searched(jnp.int32(2)),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("trial_cost, steps", [(1, 12), (3, 6)])
def test_a_step_is_made_only_if_its_trials_can_be_paid(trial_cost, steps):
    searching = Contender(
        "two", lambda size, task: two_trials(0.1), trial_cost=trial_cost
    )
    curves = race.run(tiny_task(), searching, [1])
    # 60 forward passes, 5 or 9 for each step.
    assert curves.costs[0, 0, -1] == steps * (3 + 2 * trial_cost)
    assert curves.trials[0, 0] == 2 * steps
    grid = Contender("sgd", lambda size, task: optax.sgd(size), (0.1,))
    plain = race.run(tiny_task(), grid, [1])
    np.testing.assert_allclose(
        curves.losses[0, 0, -1], plain.losses[0, 0, steps], rtol=1e-6
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["ponos", "auto"])
def test_a_run_is_paid_as_a_loop_by_hand_pays_it(name):
    """``ponos`` makes trials, and ``auto`` none."""
    task, optimizer = tiny_task(), getattr(optaxls, name)()
    curves = race.run(task, Contender(name, lambda size, task: optimizer), [0, 3])
    for number, seed in enumerate((0, 3)):
        loss, cost, trials = by_hand(optimizer, task, seed)
        assert (trials > 0) == (name == "ponos") and cost <= 3 * STEPS
        assert curves.costs[0, number, -1] == cost
        assert curves.trials[0, number] == trials
        np.testing.assert_allclose(curves.losses[0, number, -1], loss, rtol=1e-4)


@pytest.mark.slow
def test_without_trials_all_steps_are_made_with_every_size():
    grid = Contender("sgd", lambda size, task: optax.sgd(size), (0.0, 0.1))
    curves = race.run(tiny_task(), grid, [0, 1])
    assert curves.costs[..., -1].tolist() == [[3 * STEPS] * 2] * 2
    assert curves.losses.shape == (2, 2, race.CHECKPOINTS + 1)
    np.testing.assert_array_equal(curves.losses[0, :, 0], curves.losses[0, :, -1])
    assert (curves.losses[1, :, -1] < curves.losses[1, :, 0]).all()


@pytest.mark.slow
def test_a_contender_begins_with_its_own_params():
    def make(size, task):
        return optax.sgd(0.0)

    def zeros(params):
        return jax.tree.map(jnp.zeros_like, params)

    task = tiny_task()
    curves = race.run(task, Contender("still", make, begin_with=zeros), [0])
    variables = zeros(task.init(jax.random.key(0)))
    wanted = task.mean_loss(variables, task.split.x_train, task.split.y_train)
    np.testing.assert_allclose(curves.losses, wanted, rtol=1e-5)


class Counted(Problem):
    """The training loss is w; in validation it is the average of what w was."""

    def init(self, key: jax.Array, x: jax.Array) -> dict[str, Any]:
        return {"params": jnp.float32(0), "seen": {"w": jnp.float32(0)}}

    def loss(self, variables: Any, x: Any, y: Any, key: Any) -> Any:
        w = variables["params"]
        return w, {"seen": {"w": 0.5 * variables["seen"]["w"] + 0.5 * w}}

    def mean_loss(self, variables: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return variables["params"] + 0 * jnp.sum(x) + 100 * len(x)

    def valid_loss(self, variables: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return variables["seen"]["w"] + 0 * jnp.sum(x) + 1000 * len(x)


def test_losses_are_told_where_the_optimizer_evaluates():
    """With the statistics of that point; training loss on the first rows only."""
    x, y = np.zeros((40, 1), np.float32), np.zeros(40, np.int32)
    split = Split(x, y, x[:3], y[:3])
    # Batches of one row, two in a stretch between checkpoints.
    task = Task("counted", Counted(), split, "tables", batch_size=1, num_steps=40)
    task = task._replace(rows_told=7)
    shifted = Contender(
        "sgd",
        lambda size, task: optax.sgd(1.0),
        evaluate_at=lambda state, params: params + 0.5,
    )
    curves = race.run(task, shifted, [0])
    made = 2 * np.arange(1, 21)
    np.testing.assert_allclose(curves.losses[0, 0, 1:], 700.5 - made)
    # Of training, w as it was before each step; then two passes at the point told.
    running, told = 0.0, []
    for step in range(40):
        running = 0.5 * running - 0.5 * step
        if step % 2:
            told.append(0.25 * running + 0.75 * (0.5 - step - 1))
    np.testing.assert_allclose(curves.valid[0, 0, 1:], 3000 + np.array(told), rtol=1e-6)
    assert curves.valid[0, 0, 0] == 3000 and curves.losses[0, 0, 0] == 700


def test_the_best_checkpoint_is_none_before_the_first_step():
    curves = race.Curves(*[np.zeros(1)] * 5)
    valid = np.array(
        [[[0.1, 0.5, 0.3, np.nan, 0.4], [0.1, np.nan, np.nan] + [np.inf] * 2]]
    )
    curves = curves._replace(valid=valid)
    np.testing.assert_array_equal(race.best_valid(curves), [[0.3, np.inf]])
    np.testing.assert_array_equal(race.last_valid(curves), [[0.4, np.inf]])


def test_a_cosine_follows_a_warm_up():
    """The step sizes of plain descent along a constant gradient are its steps."""
    size, task = 0.3, tiny_task(num_steps=40)
    schedules = []
    cosine = contenders._cosine(lambda schedule, task: schedules.append(schedule))  # pyright: ignore
    cosine(size, task)
    found = [float(schedules[0](count)) for count in range(41)]
    assert found[:2] == pytest.approx([size / 2, size])
    assert found[21] == pytest.approx(size / 2, abs=1e-6)
    assert found[40] == pytest.approx(0, abs=1e-6)
    assert found[1:] == sorted(found[1:], reverse=True)
