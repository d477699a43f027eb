"""The training loop, the same for every task and every optax optimizer."""

import contextlib
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import optaxls
from examples.common.budget import GRADIENT_COST
from examples.training import processes
from examples.training.checkpoint import Checkpoints
from examples.training.history import History, Result
from examples.training.optimizers import Recipe
from examples.training.task import Task

# Reading a number from the device waits for all the work queued there. A few times a
# second keeps the bar alive at no cost; the cap bounds the queue on a fast device.
_REFRESH_SECONDS = 0.2
_MAX_UNREAD_STEPS = 200


class TrainState(NamedTuple):
    """What a step reads and writes: arrays only, all of it in every checkpoint."""

    params: Any
    opt_state: Any
    model_state: Any
    key: jax.Array


class Start(NamedTuple):
    """Where a run begins: step 0, or the newest checkpoint's place."""

    step: int
    state: TrainState
    history: History
    batches: grain.DatasetIterator


def prepare(
    task: Task, recipe: Recipe, seed: int, epochs: int, checkpoints: Checkpoints
) -> Start:
    """Initial state of a run, or that of its newest checkpoint; writes nothing.

    Every optimizer gets the same initial parameters and batches for the same seed.
    """
    state = _initial_state(task, recipe, seed)
    history = History.empty(epochs, task.steps_per_epoch, len(task.scores))
    batches = task.batches(seed, epochs)
    step, (state, history) = checkpoints.restore((state, history), batches)
    # Restored arrays may be read-only views of Orbax's buffers.
    return Start(step, state, History(*map(np.array, history)), batches)


def _initial_state(task: Task, recipe: Recipe, seed: int) -> TrainState:
    """Parameters and all else before the first step, a copy on every device."""

    @partial(jax.jit, out_shardings=processes.replicated())
    def init(key: jax.Array) -> TrainState:
        init_key, step_key = jax.random.split(key)
        params, model_state = task.init(init_key)
        opt_state = recipe.transformation.init(params)
        return TrainState(params, opt_state, model_state, step_key)

    return init(jax.random.key(seed))


def train(task: Task, recipe: Recipe, start: Start, checkpoints: Checkpoints) -> Result:
    """Trains from `start` to the last epoch, saving on the way and at the end."""
    train_step = _make_train_step(task, recipe)
    step, state, history, batches = start
    total = len(history.loss)
    with _Recorder(recipe.name, history, step) as recorder:
        while step < total:
            batch = processes.whole_batch(next(batches))
            state, measured = train_step(state, batch)
            step += 1
            recorder.add(measured)
            epoch, rest = divmod(step, task.steps_per_epoch)
            save = checkpoints.due(step) or step == total
            if rest and not save:
                continue
            with recorder.paused():
                if not rest:
                    scores = task.evaluate(*evaluated(task, state))
                    history.scores[epoch - 1] = [scores[name] for name in task.scores]
                if save:
                    checkpoints.save(step, (state, history), batches)
    train_loss = task.train_loss(*evaluated(task, state))
    return Result(recipe.name, history, train_loss)


def evaluated(task: Task, state: TrainState) -> tuple[Any, Any]:
    """The params to evaluate and to keep, and the model state that belongs to them.

    Training goes on from `state`, which this leaves as it is. Both can be found again
    from any checkpoint, so no checkpoint holds them a second time.
    """
    params = optaxls.eval_params(state.opt_state, state.params)
    if params is state.params:
        return params, state.model_state
    return params, task.model_state_at(params, state.model_state)


def _make_train_step(task: Task, recipe: Recipe):
    """Compiles one step: (state, batch) -> (state, what to record)."""
    step = optaxls.make_step(task.loss_fn, recipe.transformation, has_aux=True)

    @partial(jax.jit, out_shardings=processes.replicated())
    def train_step(state: TrainState, batch: Any):
        next_key, loss_key = jax.random.split(state.key)
        result = step(state.params, state.opt_state, state.model_state, batch, loss_key)
        told = {"step_size": jnp.float32(recipe.learning_rate), "num_trials": 0}
        found = told | result.metrics
        measured = {
            "loss": result.value,
            "step_size": found["step_size"],
            "num_trials": found["num_trials"],
            "cost": GRADIENT_COST + recipe.trial_cost * found["num_trials"],
        }
        state = TrainState(result.params, result.opt_state, result.aux, next_key)
        return state, measured

    return train_step


class _Recorder:
    """Moves measurements from the device to the history and to the progress bar."""

    def __init__(self, name: str, history: History, step: int):
        self._history = history
        self._step = step
        self._unread: list[dict[str, jax.Array]] = []
        self._since = time.perf_counter()
        self._bar = tqdm(
            total=len(history.loss),
            initial=step,
            desc=name,
            unit="step",
            dynamic_ncols=True,
            disable=not processes.is_first(),
        )

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, measured: dict[str, jax.Array]) -> None:
        """Takes one step's measurements, read from the device when it is time."""
        self._unread.append(measured)
        waited = time.perf_counter() - self._since
        if waited > _REFRESH_SECONDS or len(self._unread) >= _MAX_UNREAD_STEPS:
            self._read()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Brings the history up to date and stops its clock."""
        self._read()
        yield
        self._since = time.perf_counter()

    def _read(self) -> None:
        for measured in jax.device_get(self._unread):
            for field, number in measured.items():
                getattr(self._history, field)[self._step] = number
            self._step += 1
        now = time.perf_counter()
        self._history.seconds[...] += now - self._since
        self._since = now
        self._show()
        self._bar.update(len(self._unread))
        self._unread.clear()

    def _show(self) -> None:
        last = self._step - 1
        numbers = {
            "loss": f"{self._history.loss[last]:.4f}",
            "trials": int(self._history.num_trials[last]),
        }
        if math.isfinite(step_size := self._history.step_size[last]):
            numbers["step size"] = f"{step_size:.2e}"
        self._bar.set_postfix(numbers, refresh=False)
