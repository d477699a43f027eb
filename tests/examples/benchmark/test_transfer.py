"""Tasks that were changed."""

import shutil

import jax
import numpy as np
import pytest

from examples.benchmark import store, transfer, transfer_tasks
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
    np.testing.assert_array_equal(task.split.y_valid, y[50:])
    assert task._replace(num_steps=10).batches(seed=0).max() >= 50


def test_variants_change_one_thing():
    assert len(transfer_tasks.BASES) == 3
    variants = transfer_tasks.variants()
    base, wide, deep = (
        variants[f"cancer_mlp-{what}"].task
        for what in ("as-it-is", "width-x4", "depth-x2")
    )
    assert base.problem.model.widths == (32, 32, 2)  # pyright: ignore
    assert wide.problem.model.widths == (128, 128, 2)  # pyright: ignore
    assert deep.problem.model.widths == (32, 32, 32, 32, 2)  # pyright: ignore
    sizes = [
        variants[f"teacher_noise-batch-x{factor}"].task.batch_size
        for factor in ("0.125", "4", "16")
    ]
    assert sizes == [8, 256, 1000]  # no more than there are examples
    million = variants["digits_million"].task
    params = jax.eval_shape(million.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1_000_000
    assert million.num_steps == 5000


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
