"""The short examples: each stands alone, is short, and does what it says."""

import ast
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from examples import (
    finite_sums,
    linen,
    nnx,
    own_condition,
    quickstart,
    simulator,
    sparse_layers,
)
from tests.examples.conftest import ROOT

FRONT = (
    "quickstart",
    "linen",
    "nnx",
    "sharded",
    "own_condition",
    "finite_sums",
    "sparse_layers",
    "simulator",
)


@pytest.mark.parametrize("name", FRONT)
def test_is_short_stands_alone_and_has_a_main(name):
    source = (ROOT / "examples" / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 120
    tree = ast.parse(source)
    assert "main" in {x.name for x in tree.body if isinstance(x, ast.FunctionDef)}
    assert source.endswith('if __name__ == "__main__":\n    main()\n')
    assert "examples" not in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)
    # Private modules move.
    assert "optaxls._" not in source


def accuracies(out: str) -> list[float]:
    return [float(number) for number in re.findall(r"accuracy ([\d.]+)%", out)]


def test_quickstart_learns(capsys):
    quickstart.main()
    found = accuracies(capsys.readouterr().out)
    assert max(found[-5:]) > 95
    assert found[-1] > found[0]


def test_quickstart_is_plain():
    source = Path(quickstart.__file__).read_text()
    assert len(source.splitlines()) <= 40
    assert "make_step" not in source
    assert set(re.findall(r"optaxls\.(\w+)", source)) == {"auto", "eval_params"}


@pytest.mark.slow
@pytest.mark.parametrize("example", [linen, nnx], ids=["linen", "nnx"])
def test_flax_learns_with_batch_norm_and_dropout(example, capsys):
    accuracy = example.main(epochs=3)
    assert accuracy > 0.85
    found = accuracies(capsys.readouterr().out)
    assert len(found) == 3 and found[-1] == round(100 * accuracy, 1)


@pytest.mark.slow
def test_a_finite_sum_comes_closer_to_the_minimum_than_adam():
    found = finite_sums.main(epochs=10)
    assert found["SAG"] < 0.3 * found["Adam"]


@pytest.mark.slow
def test_each_layer_keeps_what_it_promises(tmp_path, capsys):
    picture = tmp_path / "support.png"
    accuracy, params = sparse_layers.main(epochs=12, weight=0.05, path=str(picture))
    assert accuracy > 0.7 and picture.stat().st_size > 10_000
    lengths = sparse_layers.used(params)
    assert 10 < np.sum(lengths > 0) < 60
    # The border of the images is empty.
    assert np.all(lengths.reshape(8, 8)[:, 0] == 0)
    assert np.all(params["parts"]["kernel"] >= 0)
    classes = np.linalg.norm(params["classes"]["kernel"], axis=0)
    np.testing.assert_allclose(classes, 3, rtol=1e-5)
    assert "pixels in use" in capsys.readouterr().out


def test_a_condition_of_ones_own_decides_which_step_is_taken():
    """From the first trial, half as long each time, until the loss is 40 % lower."""

    def loss_fn(w):
        return 0.5 * jnp.sum(jnp.array([1.0, 8.0]) * w**2)

    optimizer = own_condition.searched(own_condition.relative_decrease(0.4))
    step, w = optaxls.make_step(loss_fn, optimizer), jnp.array([1.0, 1.0])
    result = step(w, optimizer.init(w))
    grad = jnp.array([1.0, 8.0])
    first = min(float(loss_fn(w)) / (0.1 * float(grad @ grad)), 10.0)
    sizes = [first / 2**k for k in range(20)]
    expected = next(s for s in sizes if loss_fn(w - s * grad) <= 0.6 * loss_fn(w))
    assert sizes.index(expected) > 0
    assert result.metrics["step_size"] == pytest.approx(expected, rel=1e-5)
    assert result.metrics["num_trials"] == sizes.index(expected) + 1
    assert result.metrics["accepted"]


@pytest.mark.slow
def test_a_condition_of_ones_own_trains(capsys):
    # At first it is log 10, or 2.3.
    losses = own_condition.main(epochs=3)
    assert losses.keys() == {"a tenth of the loss", "Armijo"}
    assert all(loss < 0.6 for loss in losses.values())
    assert len(capsys.readouterr().out.splitlines()) == 2


SHARDED = """
import json, sys
import jax
from examples import sharded

many, one = sharded.main(steps=30)
told = {"devices": jax.device_count(), "many": many, "one": one}
print(json.dumps(told))
"""


@pytest.mark.slow
def test_sharded_arrays_train_as_on_one_device(python, monkeypatch):
    flags = os.environ.get("XLA_FLAGS", "")
    devices = "--xla_force_host_platform_device_count=4"
    monkeypatch.setenv("XLA_FLAGS", f"{flags} {devices}".strip())
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    ended = python(SHARDED)
    assert ended.returncode == 0, ended.stderr
    *shown, last = ended.stdout.splitlines()
    told = ast.literal_eval(last)
    assert told["devices"] == 4
    # A quarter of the hidden units lies on each device.
    assert shown[0] == "4 devices, each with (32, 64) of (32, 256) weights"
    np.testing.assert_allclose(told["many"][:10], told["one"][:10], rtol=1e-4)
    assert told["many"][-1] < 0.8 * told["many"][0]


def test_one_device_is_left_to_the_other_tests():
    """The flag of the test above must not reach this process."""
    assert jax.device_count() == 1


def test_the_simulator_lands_where_physics_says(monkeypatch):
    """Without drag at the range of a throw; its gradient is that of the miss."""
    monkeypatch.setattr(simulator, "DRAG", 0.0)
    monkeypatch.setattr(simulator, "SECONDS", 0.001)
    aims = np.array([[np.log(2.0), 0.3], [np.log(1.0), 0.8]])
    speed, angle = np.exp(aims[:, 0]), aims[:, 1]
    wanted = speed**2 * np.sin(2 * angle) / simulator.GRAVITY
    np.testing.assert_allclose(simulator.landing(aims), wanted, rtol=2e-2)
    value, grad = simulator.Simulator()(aims, wanted + 1)
    assert value == pytest.approx(0.5, rel=0.02)
    slopes = 2 * speed**2 / simulator.GRAVITY
    slopes = slopes[:, None] * np.stack([np.sin(2 * angle), np.cos(2 * angle)], 1)
    np.testing.assert_allclose(grad, -slopes / 2, rtol=0.05, atol=0.01)


@pytest.mark.slow
def test_inner_steps_save_calls_of_the_simulator(capsys):
    misses = simulator.main(calls=25)
    assert misses[20][-1] < 0.7 * misses[1][-1] < 0.1 * misses[1][0]
    assert "20 inner steps" in capsys.readouterr().out
