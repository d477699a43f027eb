"""Two processes that train together take the steps that one takes alone.

They talk over the loopback interface, have one CPU device each, and see one directory.
"""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from examples.common.errors import UsageError
from examples.training import processes
from tests.examples.conftest import ROOT

# Saves as often as it is told. At the end of each training every process writes its own
# records of all steps and its own copy of what the last checkpoint holds.
PROGRAM = """
import sys
import jax
import numpy as np
from examples import train, train_lm
from examples.training import checkpoint, loop, models
from tests.examples.training.test_classification import Normalised

own, save_every, command, *arguments = sys.argv[1:]

def train_and_tell(task, recipe, start, folder):
    result = trained(task, recipe, start, folder)
    history = result.history._replace(seconds=np.zeros(()))
    saved = loop.prepare(task, recipe, 0, len(history.scores), folder).state
    leaves = jax.tree.leaves((saved.params, saved.model_state))
    arrays = history._asdict() | {f"leaf{i}": leaf for i, leaf in enumerate(leaves)}
    np.savez(f"{own}-{recipe.name}.npz", **arrays)
    return result

models.MODELS["normalised"] = Normalised
checkpoint.SAVE_EVERY_SECONDS = float(save_every)
trained, loop.train = loop.train, train_and_tell
sys.exit({"train": train, "train_lm": train_lm}[command].main(arguments))
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(
    arguments: list[str], out: Path, hosts: int, save_every: float = 10.0
) -> Iterator[list[subprocess.Popen]]:
    """The processes of a run; none outlives the block."""
    together = ["--hosts", str(hosts), "--coordinator", f"127.0.0.1:{free_port()}"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"{out}-{number}", str(save_every)]
            + [*arguments, "--out", str(out), *together, "--host-id", str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(hosts)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def run(arguments: list[str], out: Path, hosts: int) -> list[tuple[str, str]]:
    """Output and errors of every process, once all have ended well."""
    with started(arguments, out, hosts) as running:
        ended = [process.communicate(timeout=240) for process in running]
    codes = [process.returncode for process in running]
    assert codes == [0] * hosts, ended
    return ended


def told(out: Path, number: int, optimizer: str) -> dict[str, np.ndarray]:
    """Steps, scores, final parameters and statistics by process `number`."""
    with np.load(f"{out}-{number}-{optimizer}.npz") as archive:
        return dict(archive)


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "settings", "optimizer"),
    [
        ("train", "--model normalised --epochs 2 --batch-size 40", "sls"),
        (
            "train_lm",
            "--vocabulary 50 --length 8 --epochs 1 --batch-size 2000",
            "ponos",
        ),
    ],
    ids=["batch norm", "dropout"],
)
def test_two_processes_take_the_steps_of_one(
    small_npz, tmp_path, command, settings, optimizer
):
    data = ["--data", str(small_npz)] if command == "train" else []
    choice = ["--optimizer", optimizer, "--compare", ""]
    arguments = [command, *data, *settings.split(), *choice]
    # Few steps, because training multiplies differences in rounding from step to step.
    ended = run(arguments, tmp_path / "two", hosts=2)
    run(arguments, tmp_path / "one", hosts=1)
    first, second = (told(tmp_path / "two", number, optimizer) for number in (0, 1))
    alone = told(tmp_path / "one", 0, optimizer)
    assert {"loss", "step_size", "num_trials", "leaf0"} < alone.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        np.testing.assert_allclose(first[name], array, 1e-5, 1e-5, err_msg=name)
    # The other process shows nothing but what the libraries say.
    (table, bar), (silence, other_bar) = ended
    assert "train loss" in table and "train loss" not in silence
    assert "step/s" in bar and "step/s" not in other_bar


@pytest.mark.long
def test_two_killed_processes_go_on_together(small_npz, tmp_path):
    """Killed one after the other, in the middle of whatever they did."""
    settings = "--model mlp --epochs 6 --batch-size 20 --compare adam".split()
    arguments = ["train", "--data", str(small_npz), *settings]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(arguments, whole, hosts=2)
    with started(arguments, cut, hosts=2, save_every=0) as running:
        deadline = time.monotonic() + 240
        while not any(cut.glob("checkpoints/adam/[0-9]*/seal.json")):
            assert time.monotonic() < deadline
            assert [process.poll() for process in running] == [None, None]
            time.sleep(0.01)
    assert not (cut / "results.json").exists()
    run([*arguments, "--resume"], cut, hosts=2)
    for number, optimizer in itertools.product((0, 1), ("auto", "adam")):
        expected = told(whole, number, optimizer)
        for name, array in told(cut, number, optimizer).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_all(small_npz, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    arguments = ["train", "--data", str(small_npz), "--compare", ""]
    with started(arguments, tmp_path, hosts=2) as running:
        ended = [process.communicate(timeout=240) for process in running]
        assert [process.returncode for process in running] == [2, 2]
    assert "not empty and holds no run" in ended[0][1]
    assert "process 0 refused" in ended[1][1]


def test_processes_split_every_batch_between_them(monkeypatch):
    rows = np.arange(12)
    np.testing.assert_array_equal(processes.own_rows(rows), rows)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    parts = []
    for number in range(3):
        monkeypatch.setattr(jax, "process_index", lambda number=number: number)
        parts.append(processes.own_rows(rows).tolist())
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_refusal_on_the_only_process_is_its_own():
    def refuse():
        raise UsageError("the data are gone")

    with pytest.raises(UsageError, match="the data are gone"):
        processes.on_first(refuse)
