"""The command: what it shows, what it refuses, and that it refuses harmlessly."""

import contextlib
import io
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib import image

from examples import train

TINY = ("--model", "mlp", "--epochs", "2", "--batch-size", "20")
TINY += ("--optimizer", "ponos", "--compare", "adam")


class Finished(NamedTuple):
    """A finished run: its directory, its command line, and what it showed."""

    folder: Path
    arguments: tuple[str, ...]
    out: str
    err: str


@pytest.fixture(scope="session")
def finished_once(small_npz, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = ("--data", str(small_npz), *TINY)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert train.main([*arguments, "--out", str(folder)]) == 0
    return Finished(folder, arguments, out.getvalue(), err.getvalue())


@pytest.fixture
def finished(finished_once, tmp_path) -> Finished:
    """A copy of the finished run, for tests that touch it."""
    folder = tmp_path / "run"
    shutil.copytree(finished_once.folder, folder)
    return finished_once._replace(folder=folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_refused(ended, message: str) -> None:
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ") and message in ended.err


@pytest.mark.slow
def test_table_tells_the_numbers_of_the_run(finished_once):
    rows = {
        line.split()[0]: re.split(r"\s{2,}", line)
        for line in finished_once.out.splitlines()
        if line.startswith(("optimizer", "ponos", "adam"))
    }
    columns = ["optimizer", "train loss", "test accuracy (%)", "median trials"]
    columns += ["mean trials", "forward passes", "seconds"]
    assert rows["optimizer"] == columns
    assert rows["adam"][3:6] == ["-", "-", "48"]  # 16 steps, a gradient each
    numbers = json.loads((finished_once.folder / "results.json").read_text())
    ponos, adam = numbers["optimizers"]
    assert ponos["forward_passes"] == 16 * 3 + round(16 * ponos["mean_trials"])
    assert ponos["mean_trials"] >= 1 and adam["mean_trials"] is None
    assert float(rows["ponos"][1]) == pytest.approx(ponos["train_loss"], rel=0.01)
    accuracy = ponos["scores"]["test accuracy (%)"]
    assert accuracy == ponos["epochs"]["test accuracy (%)"][-1]
    assert accuracy > 30
    assert numbers["settings"]["model"] == "mlp"


@pytest.mark.slow
def test_progress_bar_tells_loss_step_size_and_trials(finished_once):
    bar = re.compile(r"ponos: 100%.*16/16.*loss=\S+, trials=\d+, step size=\S+")
    assert bar.search(finished_once.err)


@pytest.mark.slow
def test_picture_shows_every_optimizer_in_its_colour(finished_once):
    picture = image.imread(finished_once.folder / "training.png")
    height, width = picture.shape[:2]
    assert height > 800 and width > 1200
    left, right = slice(width // 2), slice(width // 2, None)
    upper, lower = slice(height // 2), slice(height // 2, int(0.94 * height))
    blue, vermilion = (0, 114, 178), (213, 94, 0)
    for number, (rows, columns) in enumerate(
        itertools.product((upper, lower), (left, right))
    ):
        pixels = np.round(255 * picture[rows, columns, :3]).reshape(-1, 3)
        shown = [(pixels == colour).all(-1).sum() > 50 for colour in (blue, vermilion)]
        # Adam makes no trials and is missing from their histogram alone.
        assert shown == [True, number != 3]


@pytest.mark.slow
def test_runs_without_out_get_directories_of_their_own(command, finished_once):
    Path("runs", "small-mlp-1").mkdir(parents=True)
    arguments = (*finished_once.arguments, "--compare", "", "--epochs", 1)
    assert command(*arguments).code == 0
    assert Path("runs", "small-mlp-2", "results.json").exists()
    assert not any(Path("runs", "small-mlp-1").iterdir())


@pytest.mark.slow
def test_diverged_run_is_reported_as_such(command, small_npz):
    sgd = ("--optimizer", "sgd", "--learning-rate", "1e30", "--compare", "")
    ended = command("--data", small_npz, *TINY, *sgd, "--out", "run")
    assert ended.code == 0
    assert re.search(r"^sgd +nan", ended.out, re.MULTILINE)
    numbers = json.loads(Path("run", "results.json").read_text())
    assert numbers["optimizers"][0]["train_loss"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "many"], "--epochs"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--epochs", "1.5"], "--epochs"),
        (["--batch-size", "-3"], "--batch-size must be at least 1"),
        (["--batch-size", "161"], "exceeds the 160 training examples"),
        (["--seed", "-1"], "--seed must lie between"),
        (["--learning-rate", "nan"], "--learning-rate must be positive"),
        (["--learning-rate", "0"], "--learning-rate must be positive"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--learning-rate", "0.1", "--compare", ""], "of no use to auto"),
        (["--optimizer", "addam"], "unknown optimizer 'addam'; choose from auto"),
        (["--compare", "adam,slss"], "unknown optimizer 'slss'"),
        (["--model", "vgg"], "unknown model 'vgg'; choose from mlp, cnn, resnet"),
        (["--data", "imagenet"], "unknown data 'imagenet'; choose from digits"),
        (["--data", "absent.npz"], "no such file: absent.npz"),
        (["--data", "mnist"], "train-images-idx3-ubyte"),
        (["--data", "cifar10", "--data-dir", "nowhere"], "nowhere"),
        (["--optimiser", "ponos"], "--optimiser"),
        (["--epochs"], "--epochs"),
        (["--resume"], "--resume needs --out"),
        (["--hosts", "2"], "--hosts needs --out"),
        (["--hosts", "0"], "--hosts must be at least 1"),
        (["--host-id", "1"], "--host-id must lie between 0 and 0"),
        (["--coordinator", "here"], "--coordinator must be ADDRESS:PORT"),
    ],
)
def test_mistake_is_one_line_and_code_2(
    command, small_npz, tmp_path, arguments, message
):
    out = [] if "needs --out" in message else ["--out", "run"]
    assert_refused(command("--data", small_npz, *out, *arguments), message)
    assert list(tmp_path.iterdir()) == []


def test_help_exits_with_code_0(command, capsys):
    with pytest.raises(SystemExit) as stop:
        command("--help")
    assert stop.value.code == 0
    assert "--batch-size" in capsys.readouterr().out


@pytest.mark.slow
def test_directory_of_a_run_is_refused_without_resume(command, finished):
    before = contents(finished.folder)
    ended = command(*finished.arguments, "--out", finished.folder)
    assert_refused(ended, "add --resume")
    assert contents(finished.folder) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--seed", "1"], "--seed was 0, now 1"),
        (["--epochs", "3"], "--epochs was 2, now 3"),
        (["--batch-size", "10"], "--batch-size was 20, now 10"),
        (["--model", "cnn"], "--model was mlp, now cnn"),
        (["--optimizer", "sps"], "--optimizer was ponos, now sps"),
        (["--compare", "sls"], "--compare was adam, now sls"),
        (["--learning-rate", "0.1"], "--learning-rate was None, now 0.1"),
        (["--data", "digits"], "--data was"),
    ],
)
def test_other_settings_are_not_resumed(command, finished, changed, message):
    before = contents(finished.folder)
    arguments = (*finished.arguments, *changed)
    assert_refused(command(*arguments, "--resume", "--out", finished.folder), message)
    assert contents(finished.folder) == before


@pytest.mark.slow
def test_other_contents_of_the_data_file_are_not_resumed(
    command, finished, small_npz, tmp_path
):
    """As if the run had had a file of this name, with the test images reversed."""
    other = tmp_path / "other.npz"
    with np.load(small_npz) as archive:
        arrays = dict(archive)
    np.savez(other, **(arrays | {"x_test": arrays["x_test"][::-1]}))
    record = finished.folder / "run.json"
    record.write_text(record.read_text().replace(str(small_npz), str(other)))
    arguments = (*finished.arguments, "--data", other, "--out", finished.folder)
    ended = command(*arguments, "--resume")
    assert_refused(ended, "with other settings: --data-digest was")


def test_directory_with_other_things_is_refused(command, small_npz, tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "results.json").write_text("mine")
    for resume, message in (
        ([], "not empty and holds no run"),
        (["--resume"], f"nothing to resume: {precious} holds no run"),
    ):
        ended = command("--data", small_npz, *TINY, "--out", precious, *resume)
        assert_refused(ended, message)
    assert contents(precious) == {"results.json": b"mine"}


def test_a_run_that_is_not_there_is_not_resumed(command, small_npz, tmp_path):
    """It would begin anew, and nobody would notice a mistyped directory."""
    given = ("--data", small_npz, *TINY, "--resume", "--out")
    ended = command(*given, "absent")
    assert_refused(ended, "nothing to resume: absent is no directory; to begin, omit")
    (tmp_path / "empty").mkdir()
    assert_refused(command(*given, "empty"), "nothing to resume: empty holds no run")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_out_that_cannot_be_made_is_refused(command, small_npz, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        ended = command("--data", small_npz, *TINY, "--out", out)
        assert_refused(ended, "cannot write to")


@pytest.mark.slow
def test_damaged_record_is_refused(command, finished):
    (finished.folder / "run.json").write_text("{")
    ended = command(*finished.arguments, "--out", finished.folder, "--resume")
    assert_refused(ended, "run.json is damaged")


@pytest.mark.slow
def test_damaged_checkpoint_is_refused(python, finished):
    """Even that of the last optimizer: no other is trained first.

    In a process of its own, because libraries print on its stderr past Python's.
    """
    victim = finished.folder / "checkpoints" / "adam" / "16" / "_CHECKPOINT_METADATA"
    victim.write_bytes(victim.read_bytes()[:-5])
    before = contents(finished.folder)
    code = "import sys; from examples import train; sys.exit(train.main(sys.argv[1:]))"
    resume = (*finished.arguments, "--resume", "--out", finished.folder)
    ended = python(code, *resume)
    assert (ended.returncode, ended.stdout) == (2, "")
    # Grain warns of an older jaxlib; of ours there is one line.
    lines = [line for line in ended.stderr.splitlines() if "WARNING:absl" not in line]
    assert len(lines) == 1 and str(victim.parent) in lines[0]
    assert contents(finished.folder) == before


@pytest.mark.long
def test_a_residual_network_with_batch_norm_learns(command, small_npz, tmp_path):
    """Through the same command: its running statistics serve the evaluation."""
    given = ("--data", small_npz, "--model", "resnet", "--epochs", "12")
    given += ("--batch-size", "20", "--optimizer", "ponos", "--compare", "auto")
    assert command(*given, "--out", "run").code == 0
    numbers = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [found["optimizer"] for found in numbers["optimizers"]] == ["ponos", "auto"]
    for found in numbers["optimizers"]:
        assert found["train_loss"] < 0.3
        assert found["scores"]["test accuracy (%)"] > 70


@pytest.mark.long
def test_default_run_reaches_the_promised_accuracy(command, tmp_path):
    assert command("--out", "run").code == 0
    numbers = json.loads((tmp_path / "run" / "results.json").read_text())
    runs = {entry["optimizer"]: entry for entry in numbers["optimizers"]}
    assert list(runs) == ["auto", "adam", "ponos"]
    for name in ("auto", "ponos"):
        assert runs[name]["scores"]["test accuracy (%)"] >= 97
    assert runs["auto"]["median_trials"] is None
    assert runs["ponos"]["median_trials"] == 1
    assert runs["auto"]["forward_passes"] == runs["adam"]["forward_passes"]
    assert runs["ponos"]["forward_passes"] < 2 * runs["adam"]["forward_passes"]
