"""The command: what it tells of races, what it refuses, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.benchmark import __main__, registry, report, store, tables
from examples.benchmark.contenders import ADAM_GRID
from examples.benchmark.tasks import QUICK
from tests.examples.benchmark.records import ADAM, SGD, record, results_of
from tests.examples.conftest import ROOT

COMMITTED = ROOT / "examples" / "benchmark" / "results"
MADE = {"command": "the command", "cores": 3}
PLAN = __main__.plan(__main__.Settings(quick=True))
TABLES = (PLAN.contenders, PLAN.directions, PLAN.searches)


def synthetic(contenders: tuple[str, ...], held_out: bool) -> dict[str, Any]:
    """Records of one seed; `auto` wins, and a peer fails."""
    records = {}
    for contender in registry.named(contenders):
        sizes = range(len(contender.step_sizes))
        records[contender.name] = record(*([0.1 * (1 + i)] for i in sizes))
    for name, loss in (("auto", 0.05), ("ponos", 0.2), ("sls", None)):
        if name in records:
            records[name] = record([loss])
    return results_of(held_out, **records)


@pytest.fixture
def raced(tmp_path) -> Path:
    """A folder as a quick tournament leaves it."""
    for table in TABLES:
        results = {
            name: store.kept(
                synthetic(table.contenders, held_out=number > 0), table.columns
            )
            for number, name in enumerate(QUICK)
        }
        store.write(tmp_path / table.file, store.Races(MADE, results))
    return tmp_path


def test_command_draws_anew_what_is_there(raced, capsys):
    before = {path: path.read_bytes() for path in raced.iterdir()}
    assert __main__.main(["--quick", "--out", str(raced)]) == 0
    text = (raced / "results.md").read_text()
    assert text in capsys.readouterr().out
    # Of the run that raced, not of this one.
    assert "`the command`\n\ncores 3" in text
    assert "| auto, held out | 2 | 100 % | 0.50 |" in text
    assert "failed (" in next(x for x in text.splitlines() if x.startswith("| sls |"))
    assert "| ponos | 100 % | 0 % | 0 % |" in text
    for picture in ("profile.png", "tasks.png"):
        assert (raced / picture).read_bytes().startswith(b"\x89PNG")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_committed_tables_tell_of_the_committed_races():
    made, results = store.read(COMMITTED / "contenders.json")
    directions = store.read(COMMITTED / "directions.json").results
    searches = store.read(COMMITTED / "searches.json").results
    assert len(results) == len(directions) == len(searches) == 20
    extended = report.with_everywhere(results)
    found = report.numbers(extended, directions, searches, made)
    told = tables.markdown(found, len(ADAM_GRID))
    assert told == (COMMITTED / "results.md").read_text()


def test_lost_races_are_told(raced):
    result = store.read(raced / "contenders.json").results[QUICK[0]]
    records = result["records"] | {"auto": record([0.12]) | {"lowest": [0.02]}}
    found = report.numbers({QUICK[0]: {**result, "records": records}}, {}, {}, {})
    (lost,) = found["exceptions"]
    assert lost["ratio"] == pytest.approx(1.2) and lost["grid's run"].startswith("sgd")
    assert lost["loss"] == 0.12 and lost["lowest loss on the way"] == 0.02
    claims = {claim["claim"]: claim["met"] for claim in found["claims"]}
    assert not claims["worst ratio to it"]


def test_what_adaptive_backtracking_saves():
    plain, adaptive = record([0.1, 0.4]), record([0.2, 0.1])
    plain |= {"trials": [15, 24], "steps": [15, 12]}
    adaptive |= {"trials": [0, 15], "steps": [20, 15]}
    searches = {
        "one": results_of(backtracking=plain, adaptive_backtracking=adaptive),
        "two": results_of(backtracking=adaptive, adaptive_backtracking=plain),
    }
    own = record([0.1, 0.1])
    main = {name: results_of(sgd=SGD, adam=ADAM, auto=own) for name in searches}
    found = report.numbers(main, {}, searches, {})
    assert found["searches"]["one"] == {
        "trials of a step": {"backtracking": 1.5, "adaptive_backtracking": 0.5},
        "ratios": pytest.approx([2, 0.25]),
    }
    (claim,) = [c for c in found["claims"] if c["claim"].startswith("adaptive")]
    assert claim["value"] == 0.5 and not claim["met"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--tasks", "digits_mlp,mnist"], "unknown task 'mnist'; choose from digits"),
        (["--quick", "--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--quick", "--seeds", "2"], "holds other contenders or seeds"),
    ],
)
def test_command_refuses_in_one_line(raced, capsys, arguments, message):
    before = sorted(raced.rglob("*"))
    assert __main__.main([*arguments, "--out", str(raced)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ") and message in captured.err
    assert sorted(raced.rglob("*")) == before


@pytest.mark.slow
def test_quick_on_one_task(tmp_path):
    command = [sys.executable, "-m", "examples.benchmark", "--quick"]
    command += ["--tasks", QUICK[-1], "--out", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    races = store.read(tmp_path / "contenders.json")
    assert set(races.results) == {QUICK[-1]}
    assert races.made["command"].endswith(f"--out {tmp_path}")
    records = races.results[QUICK[-1]]["records"]
    assert list(records) == list(registry.QUICK)
    # A record has what the committed ones have, no more and no less.
    committed = store.read(COMMITTED / "contenders.json").results[QUICK[-1]]["records"]
    assert {name: set(record) for name, record in records.items()} == {
        name: set(committed[name]) for name in registry.QUICK
    }
    assert (tmp_path / "results.md").exists()
