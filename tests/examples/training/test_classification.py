"""The image task: batches, batch statistics and evaluation."""

from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from flax import nnx

import optaxls
from examples.common.errors import UsageError
from examples.training import data, models
from examples.training.classification import ACCURACY, Classification
from examples.training.data import Dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits", Path())


def numbered(count: int) -> Dataset:
    """Inputs that tell their own number."""
    x = np.arange(count, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    return Dataset(x, np.arange(count) % 2, x, np.arange(count) % 2, 2)


def test_every_epoch_is_a_new_order_of_distinct_examples():
    task = Classification("numbers", numbered(23), "mlp", batch_size=5)
    assert task.steps_per_epoch == 4
    seen = [batch["x"][:, 0].tolist() for batch in task.batches(seed=1, epochs=3)]
    assert len(seen) == 12
    epochs = [sum(seen[start : start + 4], []) for start in (0, 4, 8)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0] != epochs[1] and epochs[1] != epochs[2]
    again = [batch["x"][:, 0].tolist() for batch in task.batches(seed=1, epochs=3)]
    other = [batch["x"][:, 0].tolist() for batch in task.batches(seed=2, epochs=3)]
    assert again == seen and other != seen


def test_inputs_keep_their_labels():
    task = Classification("numbers", numbered(23), "mlp", batch_size=5)
    for batch in task.batches(seed=0, epochs=1):
        np.testing.assert_array_equal(batch["x"][:, 0] % 2, batch["y"])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_models_without_batch_norm_have_no_state(digits, model):
    task = Classification("digits", digits, model, batch_size=8)
    params, model_state = task.init(jax.random.key(0))
    assert jax.tree.leaves(model_state) == []
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))


class Normalised(nnx.Module):
    """The smallest model with batch norm: quicker to compile than a ResNet."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(shape[0] * shape[1], 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.logits = nnx.Linear(8, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.norm(self.hidden(x.reshape(len(x), -1)))
        return self.logits(nnx.relu(x))


# Their first trials are far too long, so there are many of them.
TRYING = {
    "sls": optaxls.sls(steps_per_epoch=1, initial_step_size=1e4),
    "ponos": optaxls.ponos(polyak_c=1e-4, max_step_size=np.inf),
}


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("normalised", "sls"),
        ("normalised", "ponos"),
        pytest.param("resnet", "ponos", marks=pytest.mark.slow),
    ],
)
def test_trials_leave_the_batch_statistics_alone(digits, monkeypatch, model, optimizer):
    """After a step they are those of one forward pass at the old parameters."""
    monkeypatch.setitem(models.MODELS, "normalised", Normalised)
    task = Classification("digits", digits, model, batch_size=16)
    params, model_state = task.init(jax.random.key(0))
    batch = next(task.batches(seed=0, epochs=1))
    key = jax.random.key(1)
    optimizer = TRYING[optimizer]
    step = jax.jit(optaxls.make_step(task.loss_fn, optimizer, has_aux=True))
    result = step(params, optimizer.init(params), model_state, batch, key)
    assert result.metrics["num_trials"] > 5
    _, expected = jax.jit(task.loss_fn)(params, model_state, batch, key)
    chex.assert_trees_all_close(result.aux, expected, rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), result.aux, model_state)
    assert all(leaf > 0 for leaf in jax.tree.leaves(moved))


@pytest.mark.slow
def test_scores_do_not_depend_on_how_the_test_set_is_cut(digits):
    """360 test and 1437 training digits fill no whole number of batches."""
    task = Classification("digits", digits, "cnn", batch_size=8)
    params, model_state = task.init(jax.random.key(0))
    model = task._network.merge(params, model_state)
    logits = model(task._standardise(digits.x_test))
    expected = 100 * np.mean(np.argmax(logits, -1) == digits.y_test)
    assert task.evaluate(params, model_state)[ACCURACY] == pytest.approx(expected)
    log_p = jax.nn.log_softmax(model(task._standardise(digits.x_train)))
    loss = -np.mean(np.take_along_axis(np.array(log_p), digits.y_train[:, None], 1))
    assert task.train_loss(params, model_state) == pytest.approx(loss, rel=1e-5)


def test_inputs_are_standardised_by_channel():
    rng = np.random.default_rng(0)
    x = rng.normal([3.0, -100.0, 0.0], [2.0, 50.0, 0.0], (200, 6, 6, 3))
    y = np.arange(200) % 2
    dataset = Dataset(x.astype(np.float32), y, x[:5].astype(np.float32), y[:5], 2)
    task = Classification("random", dataset, "cnn", batch_size=8)
    seen = task._standardise(jax.numpy.asarray(dataset.x_train))
    np.testing.assert_allclose(seen.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std((0, 1, 2)), [1, 1, 0], atol=1e-4)


@pytest.mark.slow
def test_evaluation_uses_the_running_statistics(digits, monkeypatch):
    monkeypatch.setitem(models.MODELS, "normalised", Normalised)
    task = Classification("digits", digits, "normalised", batch_size=16)
    params, model_state = task.init(jax.random.key(0))
    shifted = jax.tree.map(lambda leaf: leaf + 3, model_state)
    before = task.train_loss(params, model_state)
    assert task.train_loss(params, shifted) != pytest.approx(before, rel=0.01)


@pytest.mark.slow
def test_statistics_at_other_params_are_those_of_training_batches(digits, monkeypatch):
    """Of those params, whatever statistics the run had; the same ones every time."""
    monkeypatch.setitem(models.MODELS, "normalised", Normalised)
    task = Classification("digits", digits, "normalised", batch_size=64)
    params, model_state = task.init(jax.random.key(0))
    found = task.model_state_at(params, model_state)
    shifted = jax.tree.map(lambda leaf: leaf + 3, model_state)
    again = task.model_state_at(params, shifted)
    chex.assert_trees_all_close(found, again, atol=0.03)
    chex.assert_trees_all_equal(found, task.model_state_at(params, model_state))
    x = task._standardise(jax.numpy.asarray(digits.x_train))
    model = task._network.merge(params, found)
    seen = model.hidden(x.reshape(len(x), -1))
    np.testing.assert_allclose(model.norm.mean[...], seen.mean(0), atol=0.1)
    np.testing.assert_allclose(model.norm.var[...], seen.var(0), rtol=0.15)


@pytest.mark.slow
def test_resnet_learns(digits):
    """Two epochs; the test accuracy needs the statistics to be right."""
    task = Classification("digits", digits, "resnet", batch_size=32)
    params, model_state = task.init(jax.random.key(0))
    optimizer = optaxls.sls(steps_per_epoch=task.steps_per_epoch)
    step = jax.jit(optaxls.make_step(task.loss_fn, optimizer, has_aux=True))
    opt_state = optimizer.init(params)
    for batch in task.batches(seed=0, epochs=2):
        result = step(params, opt_state, model_state, batch, jax.random.key(0))
        params, opt_state, model_state = result.params, result.opt_state, result.aux
    assert task.evaluate(params, model_state)[ACCURACY] > 85


@pytest.mark.parametrize("model", ["cnn", "resnet"])
def test_vectors_are_no_images(model):
    with pytest.raises(UsageError, match="vectors of 4 features; use --model mlp"):
        Classification("numbers", numbered(23), model, batch_size=5)


def test_cnn_refuses_images_that_pooling_would_swallow():
    x = np.zeros((10, 3, 8, 1), np.uint8)
    dataset = Dataset(x, np.arange(10) % 2, x, np.arange(10) % 2, 2)
    with pytest.raises(UsageError, match="4x4 pixels or more, not 3x8"):
        Classification("slim", dataset, "cnn", batch_size=5)


def test_batches_that_the_devices_cannot_share_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(UsageError, match="5 cannot be shared evenly by 3 devices"):
        Classification("numbers", numbered(23), "mlp", batch_size=5)
