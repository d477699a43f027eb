"""Tasks that were changed, and tasks that nothing was chosen on."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from examples.benchmark import (
    arrays,
    networks,
    new_tasks,
    store,
    transfer,
    transfer_tasks,
)
from tests.examples.benchmark.tiny_task import STEPS, tiny_task
from tests.examples.conftest import ROOT


def test_labels_change_after_half_of_the_steps():
    task = transfer_tasks.with_change(tiny_task())
    x, y = task.split.x_train, task.split.y_train
    first, second = np.split(task.batches(seed=0), 2)
    np.testing.assert_array_equal(first, tiny_task().batches(seed=0)[: STEPS // 2])
    assert first.max() < 50 <= second.min()
    np.testing.assert_array_equal(x[second - 50], x[second])
    np.testing.assert_array_equal((y[second - 50] + 5) % 10, y[second])
    np.testing.assert_array_equal(task.split.y_test, y[50:])
    assert task._replace(num_steps=10).batches(seed=0).max() >= 50


def test_variants_change_one_thing():
    assert len(transfer_tasks.BASES) == 3
    variants = transfer_tasks.variants()
    base, wide, deep = (
        variants[f"cancer_mlp-{what}"].task
        for what in ("as-it-is", "width-x4", "depth-x2")
    )
    assert base.model.widths == (32, 32, 2)  # pyright: ignore
    assert wide.model.widths == (128, 128, 2)  # pyright: ignore
    assert deep.model.widths == (32, 32, 32, 32, 2)  # pyright: ignore
    sizes = [
        variants[f"teacher_noise-batch-x{factor}"].task.batch_size
        for factor in ("0.125", "4", "16")
    ]
    assert sizes == [8, 256, 1000]  # no more than there are examples
    million = variants["digits_million"].task
    params = jax.eval_shape(million.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1_000_000
    assert million.num_steps == 5000


def test_losses_of_new_tasks_are_those_of_their_names():
    """Ratios need a loss that is never negative, and the floor of 0 or of the noise."""
    rates, counts = jnp.array([[0.5, 1.0, 4.0]]), jnp.array([[0.0, 1.0, 3.0]])
    expected = -scipy.stats.poisson.logpmf(counts, rates).mean()
    found = new_tasks.poisson(jnp.log(rates), counts)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    # The minimizer of the pinball loss is the quantile: nine of ten lie below it.
    sample = jnp.arange(100.0)[:, None]
    guesses = jnp.arange(0.0, 100.0, 0.5)
    means = [
        jnp.mean(new_tasks.pinball(jnp.full_like(sample, g), sample)) for g in guesses
    ]
    assert 89 <= guesses[np.argmin(means)] <= 90
    assert new_tasks.huber(jnp.array([[3.0]]), jnp.array([[0.0]])) == 2.5
    factors = networks.Factors((2, 2), 2)
    params = {
        "rows": {"embedding": jnp.eye(2)},
        "columns": {"embedding": 2 * jnp.eye(2)},
    }
    pairs = jnp.array([[0, 0], [0, 1]])
    products = jnp.asarray(factors.apply({"params": params}, pairs))
    assert products.tolist() == [[2.0], [0.0]]


def test_new_tasks_have_the_noise_that_they_tell_of():
    split = arrays.overlap()
    x, y = (np.concatenate(parts) for parts in (split[0::2], split[1::2]))
    assert abs(np.mean((x[:, 0] > 1) != y) - scipy.stats.norm.cdf(-1)) < 0.03
    entries = arrays.ratings()
    assert len(entries.x_train) + len(entries.x_test) == pytest.approx(2400, rel=0.05)
    assert arrays.digit_values().y_train.max() == 9
    assert arrays.spirals().y_train.mean() == pytest.approx(0.5, abs=0.02)


def test_new_tasks_meet_the_whole_grid():
    variants = transfer_tasks.variants()
    for name in new_tasks.NEW_TASKS:
        names = [c.name for c in variants[f"new-{name}"].contenders]
        assert names == ["sgd", "adam", "auto", "prodigy"]
        sizes = [len(c.step_sizes) for c in variants[f"new-{name}"].contenders]
        assert sizes == [11, 11, 1, 1]


def test_the_committed_table_is_drawn_anew_from_the_committed_races(tmp_path, capsys):
    committed = ROOT / "examples" / "benchmark" / "results" / "transfer"
    shutil.copy(committed / "transfer.json", tmp_path)
    assert transfer.main(["--out", str(tmp_path)]) == 0
    told = (committed / "transfer.md").read_text()
    assert (tmp_path / "transfer.md").read_text() == told
    assert told in capsys.readouterr().out
    races = (tmp_path / "transfer.json").read_text()
    assert races == (committed / "transfer.json").read_text()


def test_an_unknown_variant_is_refused(tmp_path, capsys):
    assert transfer.main(["--variants", "none", "--out", str(tmp_path)]) == 2
    assert "unknown variant 'none'; choose from" in capsys.readouterr().err


@pytest.mark.long
def test_quick_transfer(tmp_path, capsys):
    assert transfer.main(["--quick", "--out", str(tmp_path)]) == 0
    made, results = store.read(tmp_path / "transfer.json")
    assert len(results) == 2 and "--quick" in made["command"]
    told = capsys.readouterr().out
    for name, row in transfer.summary(results).items():
        assert len(row["ratios"]) == 1 and name in told
    assert (tmp_path / "transfer.png").exists()
