"""A small data set, a task without images, and the command run in this process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import examples
from examples import train
from examples.training.task import Case

ROOT = Path(examples.__file__).parents[1]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory) -> Path:
    """A file of 160 training and 60 test digits."""
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 8, 8)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(
        path,
        x_train=images[:160],
        y_train=labels[:160],
        x_test=images[160:220],
        y_test=labels[160:220],
    )
    return path


@pytest.fixture
def command(capsys, tmp_path, monkeypatch) -> Callable[..., Ended]:
    """Runs `python -m examples.train` with arguments, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        code = train.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python code in a process of its own, with the repository's modules."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


class NoisyLine:
    """A task unlike the others: fits a line through noise drawn from each step's key.

    Its model state counts the gradients taken, and it has two scores.
    """

    name = "noisy line"
    fingerprint = "1"
    steps_per_epoch = 5
    scores: tuple[str, ...] = ("perplexity", "gradients seen")

    def init(self, key: jax.Array):
        return {"w": jax.random.normal(key, (3,))}, jnp.int32(0)

    def loss_fn(self, params, model_state, batch, key):
        x = batch.astype(jnp.float32)[:, None] * jnp.array([0.1, 0.2, 0.3])
        noise = jax.random.normal(key, (len(x),))
        return jnp.mean((x @ params["w"] - 1 - noise) ** 2), model_state + 1

    def model_state_at(self, params, model_state):
        return model_state

    def evaluate(self, params, model_state) -> dict[str, float]:
        norm = float(jnp.linalg.norm(params["w"]))
        return {"gradients seen": float(model_state), "perplexity": norm}

    def train_loss(self, params, model_state) -> float:
        return float(jnp.linalg.norm(params["w"]))

    def case(self, model_state) -> Case:
        return Case(lambda params, x: (params["w"] ** 2).sum() * x, jnp.ones(20), None)

    def batches(self, seed: int, epochs: int) -> grain.DatasetIterator:
        order = grain.MapDataset.range(20).seed(seed).shuffle().batch(4)
        return iter(order.repeat(epochs).to_iter_dataset())


@pytest.fixture
def noisy_line() -> NoisyLine:
    return NoisyLine()
