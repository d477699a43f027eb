"""`--diagnose`: the losses the doctor is given, what it writes, what is refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import train
from examples.common import text
from examples.training.language import LanguageModel


@pytest.mark.slow
def test_the_doctor_sees_the_losses_of_an_image_task(small_npz):
    settings = train.Settings(data=str(small_npz), model="mlp", batch_size=20)
    task = train.make_task(settings)
    params, state = task.init(jax.random.key(0))
    loss_fn, examples, labels = task.case(state)
    values = jax.vmap(loss_fn, (None, 0))(params, examples)
    assert values.shape == labels.shape == (160,)
    np.testing.assert_allclose(values.mean(), task.train_loss(params, state), rtol=1e-5)


@pytest.mark.slow
def test_the_doctor_sees_the_losses_of_the_language_model():
    corpus = text.load(100, 8)
    task = LanguageModel(corpus._replace(train=corpus.train[:400]), 16)
    params, state = task.init(jax.random.key(0))
    loss_fn, examples, labels = task.case(state)
    examples = jax.tree.map(jnp.asarray, examples)
    values = jax.jit(jax.vmap(loss_fn, (None, 0)))(params, examples)
    assert labels.shape == (len(values), 8) == (400, 8)
    np.testing.assert_allclose(values.mean(), task.train_loss(params, state), rtol=1e-4)


@pytest.mark.long
def test_the_command_writes_the_report_and_trains_nothing(command, small_npz):
    arguments = ("--data", small_npz, "--model", "mlp", "--batch-size", "20")
    ended = command(*arguments, "--epochs", "8", "--diagnose", "--out", "sick")
    assert ended.code == 0
    report = Path("sick", "diagnosis.txt").read_text()
    assert ended.out.startswith(report)
    assert "take: optaxls." in report and "Zipf exponent: 0" in report
    assert ended.err.count("short run: ") == 6
    assert Path("sick", "diagnosis.png").read_bytes()[:4] == b"\x89PNG"
    assert not Path("sick", "checkpoints").exists()


@pytest.mark.parametrize("more", [["--resume"], ["--hosts", "2", "--out", "x"]])
def test_refusals(command, more):
    ended = command("--diagnose", "--out", "x", *more)
    assert ended.code == 2
    assert ended.err == "error: --diagnose takes neither --hosts nor --resume\n"
