"""The language task: its text, its model, what it reports, and its command."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optaxls
from examples import train_lm
from examples.common import text
from examples.common.text import Corpus
from examples.training import language
from examples.training.language import FREQUENT, PERPLEXITY, RARE, LanguageModel
from examples.training.transformer import Transformer


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return text.load(vocabulary_size=100, length=8)


def shortened(corpus: Corpus, rows: int) -> Corpus:
    """The beginning of the texts, since evaluating all of them takes long."""
    return corpus._replace(train=corpus.train[:rows], test=corpus.test[:rows])


@pytest.fixture(scope="module")
def task(corpus) -> LanguageModel:
    return LanguageModel(shortened(corpus, 500), batch_size=16)


def test_groups_are_half_and_a_tenth_of_the_text(corpus):
    everything, frequent, rare = np.asarray(language.word_groups(corpus))
    targets = corpus.train[:, 1:].ravel()
    shares = np.bincount(targets) / (targets > 0).sum()
    assert everything.all() and not (frequent * rare).any()
    assert frequent[0] == rare[0] == 0
    # The word that completes the half belongs to it.
    assert 0.5 <= shares @ frequent < 0.53 and 0.09 < shares @ rare <= 0.1
    assert shares[frequent == 1].min() >= shares[rare == 1].max()


@pytest.mark.slow
def test_model_that_knows_nothing_finds_all_words_alike(task):
    params, model_state = task.init(jax.random.key(0))
    nothing = jax.tree.map(jnp.zeros_like, params)
    scores = task.evaluate(nothing, model_state)
    assert scores[PERPLEXITY] == pytest.approx(100, rel=1e-5)
    assert scores[FREQUENT] == pytest.approx(np.log(100), rel=1e-5)
    assert scores[RARE] == pytest.approx(np.log(100), rel=1e-5)
    assert task.train_loss(nothing, model_state) == pytest.approx(np.log(100), rel=1e-5)


@pytest.mark.slow
def test_words_see_only_the_words_before_them():
    model = Transformer(20, 6, nnx.Rngs(0), width=8, heads=2, blocks=1)
    model.eval()
    words = jnp.array([[3, 1, 4, 1, 5, 9], [3, 1, 4, 2, 5, 9]])
    logits = jax.jit(lambda words: model(words, nnx.Rngs(0)))(words)
    moved = np.abs(logits[0] - logits[1]).max(-1)
    assert (moved[:3] == 0).all() and (moved[3:] > 1e-4).all()


@pytest.mark.slow
def test_trials_see_what_the_gradient_saw_dropped_out(task):
    """The accepted trial's loss is that at the new parameters under the same mask."""
    params, model_state = task.init(jax.random.key(0))
    batch = next(task.batches(seed=0, epochs=1))
    key, other_key = jax.random.split(jax.random.key(1))
    optimizer = optaxls.ponos(polyak_c=0.001)
    step = jax.jit(optaxls.make_step(task.loss_fn, optimizer, has_aux=True))
    result = step(params, optimizer.init(params), model_state, batch, key)
    assert result.metrics["accepted"] and result.metrics["num_trials"] > 2
    loss_fn = jax.jit(task.loss_fn)
    before, _ = loss_fn(params, model_state, batch, key)
    after, _ = loss_fn(result.params, model_state, batch, key)
    otherwise, _ = loss_fn(result.params, model_state, batch, other_key)
    assert float(result.value) == pytest.approx(float(before), rel=1e-6)
    assert float(result.metrics["trial_value"]) == pytest.approx(float(after), rel=1e-6)
    assert abs(otherwise - after) > 1e-4 * after


@pytest.mark.slow
def test_evaluation_drops_nothing_out(task):
    params, model_state = task.init(jax.random.key(0))
    model = task._network.merge(params, model_state)
    model.eval()

    @jax.jit
    def loss(words):
        return language._losses(model, words, nnx.Rngs(5)).mean()

    expected = float(loss(task._train["words"]))
    assert task.train_loss(params, model_state) == pytest.approx(expected, rel=1e-5)


# With so few words, none is rare.
TINY = ("--vocabulary", "5", "--length", "4", "--batch-size", "200", "--epochs", "1")


@pytest.mark.long
def test_command_reports_perplexity_and_refuses_other_settings(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    load = text.load
    monkeypatch.setattr(text, "load", lambda *given: shortened(load(*given), 2000))
    arguments = [*TINY, "--optimizer", "adam", "--compare", "", "--out", "run"]
    assert train_lm.main(arguments) == 0
    shown = capsys.readouterr()
    assert f"{PERPLEXITY}  {FREQUENT}  {RARE}" in shown.out
    assert "adam: 100%" in shown.err
    adam = json.loads(Path("run", "results.json").read_text())["optimizers"][0]
    assert adam["scores"][PERPLEXITY] < 5 and adam["scores"][RARE] is None
    assert Path("run", "training.png").stat().st_size > 10_000
    assert train_lm.main([*arguments, "--resume", "--vocabulary", "6"]) == 2
    assert "--vocabulary was 5, now 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocabulary", "1"], "--vocabulary must be at least 2, not 1"),
        (["--length", "0"], "--length must be at least 1, not 0"),
        (["--length", "70000"], "no text is long enough"),
        (["--batch-size", "100000"], "exceeds the"),
    ],
)
def test_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert train_lm.main([*arguments, "--out", "run"]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1 and message in shown.err
    assert list(tmp_path.iterdir()) == []
