"""Killed with SIGKILL and started again, a run ends as if nothing had happened.

To the last bit: these runs have one thread each. With several, on a loaded machine,
XLA's sums once differed in the last bits from one process to the next.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from examples.training import loop
from examples.training.checkpoint import Checkpoints
from tests.examples.conftest import ROOT

SETTINGS = ("--model", "mlp", "--epochs", "3", "--batch-size", "20")
SETTINGS += ("--optimizer", "ponos")

ONE_THREAD = """
import os

if hasattr(os, "sched_setaffinity"):  # not on macOS
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
"""

TRAINS = f"""{ONE_THREAD}
import sys
from examples import train

sys.exit(train.main(sys.argv[1:]))
"""

# Saves after every step, and dies inside the given save: when Orbax has written a part
# of the checkpoint and has not moved it in place.
DIES_WHILE_SAVING = f"""{ONE_THREAD}
import signal, sys
import grain.checkpoint
from examples import train
from examples.training import checkpoint

checkpoint.SAVE_EVERY_SECONDS = 0
saves = 0
save = grain.checkpoint.CheckpointHandler.save

def save_and_die(self, *arguments, **options):
    global saves
    saves += 1
    save(self, *arguments, **options)
    if saves == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

grain.checkpoint.CheckpointHandler.save = save_and_die
train.main(sys.argv[2:])
"""

SAVES_ALWAYS = f"""{ONE_THREAD}
import sys
from examples import train
from examples.training import checkpoint

checkpoint.SAVE_EVERY_SECONDS = 0
sys.exit(train.main(sys.argv[1:]))
"""


def final_arrays(out: Path, optimizer: str) -> dict[str, np.ndarray]:
    """All that the last checkpoint of a run holds, without its clock."""
    with ocp.CheckpointManager(out.absolute() / "checkpoints" / optimizer) as manager:
        arguments = ocp.args.Composite(tree=ocp.args.StandardRestore())
        tree = manager.restore(manager.latest_step(), args=arguments)["tree"]
    arrays = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        arrays[jax.tree_util.keystr(path)] = np.asarray(leaf)
    del arrays["[1]['seconds']"]
    return arrays


def assert_same_end(one: Path, other: Path, optimizers: list[str]) -> None:
    """Parameters, optimizer states, keys and histories, to the last bit."""
    for optimizer in optimizers:
        first, second = final_arrays(one, optimizer), final_arrays(other, optimizer)
        assert first.keys() == second.keys()
        assert any("params" in name for name in first)
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name], err_msg=name)
    # The losses, step sizes and scores of every epoch, also those before the kill.
    ends = [json.loads((out / "results.json").read_text()) for out in (one, other)]
    for a, b in zip(ends[0]["optimizers"], ends[1]["optimizers"], strict=True):
        assert a.pop("seconds") > 0 and b.pop("seconds") > 0
        assert a == b
        assert None not in a["epochs"]["median_loss"]


@pytest.mark.slow
def test_kill_in_the_middle_of_a_save(python, small_npz, tmp_path):
    arguments = ("--data", small_npz, *SETTINGS, "--compare", "")
    killed = python(DIES_WHILE_SAVING, 13, *arguments, "--out", tmp_path / "cut")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "cut" / "results.json").exists()
    resumed = python(TRAINS, *arguments, "--out", tmp_path / "cut", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    # The unfinished 13th checkpoint is gone, the 12th is where the run goes on.
    assert re.findall(r"(\d+)/24", resumed.stderr)[0] == "12"
    whole = python(TRAINS, *arguments, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert_same_end(tmp_path / "cut", tmp_path / "whole", ["ponos"])


@pytest.mark.slow
def test_kill_before_anything_was_saved(command, small_npz, tmp_path):
    """A directory in which only an unfinished record lies is started afresh."""
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / ".partial-run.json").write_text("{")
    arguments = ("--data", small_npz, *SETTINGS, "--compare", "", "--out", "cut")
    assert command(*arguments, "--resume").code == 2
    assert command(*arguments).code == 0
    assert not (tmp_path / "cut" / ".partial-run.json").exists()


@pytest.mark.slow
def test_finished_run_reports_again(command, small_npz):
    arguments = ("--data", small_npz, *SETTINGS, "--compare", "", "--out", "run")
    first = command(*arguments)
    Path("run", "training.png").unlink()
    second = command(*arguments, "--resume")
    assert second.out == first.out
    assert Path("run", "training.png").stat().st_size > 10_000


@pytest.fixture
def heeds_ctrl_c():
    """A shell in the background tells its programs to ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_ends_in_one_line_and_the_run_goes_on(
    command, small_npz, monkeypatch, tmp_path
):
    """Right after the 11th of 24 steps was saved, by a signal to this process."""
    save = Checkpoints.save

    def save_and_interrupt(self, step, tree, batches):
        save(self, step, tree, batches)
        if step == 11:
            signal.raise_signal(signal.SIGINT)

    arguments = ("--data", small_npz, *SETTINGS, "--compare", "")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", lambda self, step: step == 11)
        patch.setattr(Checkpoints, "save", save_and_interrupt)
        ended = command(*arguments)
    assert (ended.code, ended.out) == (130, "")
    # Below the progress bar, which stays.
    *bar, line = ended.err.splitlines()
    assert line == (
        "interrupted: saved ponos to step 11 of 24; to go on, give the same command"
        " with --out runs/small-mlp-1 --resume"
    )
    assert all("ponos:" in shown or not shown.strip() for shown in bar)
    resumed = command(*arguments, "--out", "runs/small-mlp-1", "--resume")
    assert resumed.code == 0
    assert "11/24" in resumed.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["small-mlp-1"]


@pytest.mark.slow
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_before_anything_was_saved(command, small_npz, monkeypatch):
    """There is a run all the same, so that the options that are told begin it."""
    arguments = ("--data", small_npz, *SETTINGS, "--compare", "", "--out", "run")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "prepare", lambda *_: signal.raise_signal(signal.SIGINT))
        ended = command(*arguments)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == (
        "\ninterrupted: saved no step yet; to go on, give the same command with --out"
        " run --resume\n"
    )
    assert command(*arguments, "--resume").code == 0


# ``python -m examples.train``, which a shell in the background would have told to
# ignore the signal.
HEEDING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("examples.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shown", [" 0%", "/4000 [00:0[1-9]"])
def test_ctrl_c_at_a_terminal(small_npz, tmp_path, shown):
    """While the first step is compiled, and in the midst of training."""
    settings = ("--data", str(small_npz), *SETTINGS, "--epochs", "500")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HEEDING,
            *settings,
            "--out",
            str(tmp_path / "x"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None and process.stdout is not None
    err = b""
    while not re.search(shown.encode(), err):
        more = os.read(process.stderr.fileno(), 65536)
        assert more, err.decode()
        err += more
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 130 and out == b""
    lines = (err + rest).decode().replace("\r", "\n").splitlines()
    assert lines[-1].startswith("interrupted: saved ")
    assert lines[-1].endswith(f"with --out {tmp_path / 'x'} --resume")
    assert not any("Traceback" in line for line in lines)


@pytest.mark.long
def test_kills_from_outside_at_any_moment(python, small_npz, tmp_path):
    """Two optimizers, killed again and again after ever longer times."""
    arguments = [*map(str, ("--data", small_npz, *SETTINGS, "--model", "cnn"))]
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = [sys.executable, "-c", SAVES_ALWAYS, *arguments, "--out", str(cut)]
    kills = 0
    for seconds in (2.0, 4.5, 6.3, 8.8, 300.0):
        running = subprocess.Popen(
            [*process, *["--resume"] * (cut / "run.json").exists()],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            kills += 1
    assert running.returncode == 0
    assert kills >= 2
    ended = python(SAVES_ALWAYS, *arguments, "--out", whole)
    assert ended.returncode == 0, ended.stderr
    assert_same_end(cut, whole, ["ponos", "adam"])
