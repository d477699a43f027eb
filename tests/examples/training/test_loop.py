"""The loop knows nothing of images: a task with noise, two scores and a counter."""

from typing import Any

import jax
import numpy as np
import pytest

import optaxls
from examples.common.errors import UsageError
from examples.training import checkpoint, loop, optimizers, processes
from examples.training.checkpoint import Checkpoints

EPOCHS = 3


class Killed(Exception):
    """Stands for a kill, in tests that go on in the same process."""


class Forgetful:
    """Stands for `Checkpoints` where nothing is resumed: they take long to write."""

    def __init__(self):
        self.saved = {}

    def restore(self, like, batches):
        return max(self.saved.items(), default=(0, like), key=lambda item: item[0])

    def due(self, step):
        return False

    def save(self, step, tree, batches):
        self.saved[step] = tree

    def close(self):
        pass


def run(task, place, name="ponos", seed=0):
    recipe = optimizers.make(name, None, task.steps_per_epoch)
    folder: Any = Checkpoints(place / name) if place else Forgetful()
    start = loop.prepare(task, recipe, seed, EPOCHS, folder)
    result = loop.train(task, recipe, start, folder)
    final = loop.prepare(task, recipe, seed, EPOCHS, folder)
    folder.close()
    assert final.step == EPOCHS * task.steps_per_epoch
    return result, final.state, start


def assert_same(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jax.numpy.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto", "ponos"])
def test_scores_are_those_of_the_params_to_keep(noisy_line, name, monkeypatch):
    """The average, with a model state of its own, or the params trained themselves."""
    monkeypatch.setattr(noisy_line, "model_state_at", lambda params, old: -old)
    result, state, _ = run(noisy_line, None, name)
    kept = optaxls.eval_params(state.opt_state, state.params)
    own_state = 15 if name == "ponos" else -15
    assert loop.evaluated(noisy_line, state)[1] == own_state
    norm = float(np.linalg.norm(kept["w"]))
    np.testing.assert_allclose(result.history.scores[-1], [norm, own_state], rtol=1e-6)
    assert result.train_loss == pytest.approx(norm)
    moved = float(np.linalg.norm(kept["w"] - state.params["w"]))
    assert (moved > 1e-4) == (name == "auto")


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_trains_and_records_every_step(noisy_line, name):
    result, state, _ = run(noisy_line, None, name)
    history = result.history
    assert np.isfinite(history.loss).all() and np.isfinite(history.step_size).all()
    assert np.isfinite(jax.tree.leaves(state.params)[0]).all()
    trial_cost = 3 if name == "sls_extragradient" else 1
    np.testing.assert_array_equal(history.cost, 3 + trial_cost * history.num_trials)
    assert history.forward_passes()[-1] == history.cost.sum()
    # One gradient for each step has been counted, whatever the trials.
    np.testing.assert_array_equal(history.scores[:, 1], [5, 10, 15])


@pytest.mark.slow
def test_first_recorded_loss_is_that_of_the_first_batch(noisy_line):
    result, _, start = run(noisy_line, None)
    _, step_key = jax.random.split(jax.random.key(0))
    _, loss_key = jax.random.split(step_key)
    batch = next(noisy_line.batches(0, EPOCHS))
    loss, _ = noisy_line.loss_fn(start.state.params, 0, batch, loss_key)
    assert result.history.loss[0] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.slow
def test_optimizers_start_alike_and_seeds_differ(noisy_line):
    _, _, ponos = run(noisy_line, None, "ponos")
    _, _, adam = run(noisy_line, None, "adam")
    _, _, other = run(noisy_line, None, "ponos", seed=1)
    assert_same(ponos.state.params, adam.state.params)
    first, second = ponos.state.params["w"], other.state.params["w"]
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"), [("ponos", 1), ("ponos", 7), ("sls", 5), ("adam", 14)]
)
def test_resumed_run_is_the_uninterrupted_run(
    noisy_line, tmp_path, monkeypatch, name, steps
):
    """Cut after any step, also in the middle of an epoch, to the last bit."""
    whole, final, _ = run(noisy_line, tmp_path / "whole", name)
    monkeypatch.setattr(Checkpoints, "due", lambda self, step: step == steps)
    save = Checkpoints.save

    def save_and_die(self, step, tree, batches):
        save(self, step, tree, batches)
        if step == steps:
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(Killed):
        run(noisy_line, tmp_path / "cut", name)
    monkeypatch.setattr(Checkpoints, "save", save)
    resumed, resumed_final, start = run(noisy_line, tmp_path / "cut", name)
    assert start.step == steps
    assert_same(resumed_final, final)
    for field in ("loss", "step_size", "num_trials", "cost", "scores"):
        one, other = getattr(resumed.history, field), getattr(whole.history, field)
        np.testing.assert_array_equal(one, other, err_msg=field)
    assert resumed.train_loss == whole.train_loss


@pytest.fixture
def saved(noisy_line, tmp_path):
    """A checkpoint of the step 5 and its folder."""
    folder = Checkpoints(tmp_path / "saved")
    batches = noisy_line.batches(0, EPOCHS)
    next(batches)
    tree = {"w": jax.numpy.arange(3.0), "key": jax.random.key(3)}
    folder.save(5, tree, batches)
    folder.close()
    return tmp_path / "saved" / "5", tree


def test_checkpoint_comes_back_with_the_iterator(noisy_line, saved):
    path, tree = saved
    batches, fresh = noisy_line.batches(0, EPOCHS), noisy_line.batches(0, EPOCHS)
    empty = {"w": jax.numpy.zeros(3), "key": jax.random.key(0)}
    step, restored = Checkpoints(path.parent).restore(empty, fresh)
    assert step == 5
    assert_same(restored, tree)
    next(batches)
    np.testing.assert_array_equal(next(fresh), next(batches))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut, flip, remove])
def test_damage_to_any_file_of_a_checkpoint_is_noticed(saved, damage):
    path, _ = saved
    files = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]
    if damage is remove:
        files.remove(path / "seal.json")
    assert len(files) > 5
    for file in files:
        content = file.read_bytes()
        damage(file)
        with pytest.raises(UsageError, match=f"damaged checkpoint {path}"):
            Checkpoints(path.parent)
        file.write_bytes(content)


def test_checkpoint_without_a_seal_was_never_finished(noisy_line, saved):
    """A kill between Orbax's move and ours leaves one; the run starts before it."""
    path, tree = saved
    (path / "seal.json").unlink()
    batches = noisy_line.batches(0, EPOCHS)
    assert Checkpoints(path.parent).restore(tree, batches) == (0, tree)
    assert not path.exists()


@pytest.mark.parametrize("pace", [0.0013, 0.04, 3.0, 40.0])
def test_saves_come_in_time_though_the_clock_is_seldom_compared(
    tmp_path, monkeypatch, pace
):
    """Comparing it makes processes wait; the first step takes long to compile."""
    clock, asked = [100.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        processes, "of_first", lambda number: asked.append(number) or number
    )
    folder = Checkpoints(tmp_path)
    asked.clear()
    for step in range(1, 20_000):
        clock[0] += 4.0 if step == 1 else pace
        if folder.due(step):
            break
    folder.close()
    late = clock[0] - 100 - checkpoint.SAVE_EVERY_SECONDS
    assert 0 <= late < max(2 * pace, 0.1) + (pace > 10) * 4
    # Two numbers are asked for at a time.
    assert len(asked) / 2 <= min(step, 25)


def test_step_is_compiled_once(noisy_line):
    calls = []
    traced = noisy_line.loss_fn

    def counting(*arguments):
        calls.append(None)
        return traced(*arguments)

    noisy_line.loss_fn = counting
    run(noisy_line, None, "adam")
    assert len(calls) == 1
