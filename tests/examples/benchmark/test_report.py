"""The command: what it tells of races, what it refuses, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.benchmark import __main__, registry, report, store, tables
from examples.benchmark.tasks import QUICK, of_half
from tests.examples.benchmark.records import ADAM, SGD, record, results_of
from tests.examples.conftest import ROOT

COMMITTED = ROOT / "examples" / "benchmark" / "results"
MADE = {"command": "the command", "cores": 3}
PLAN = __main__.plan(__main__.Settings(quick=True))
TABLES = (PLAN.contenders, PLAN.directions, PLAN.searches)
PLAN_TASKS = {name: number > 0 for number, name in enumerate(QUICK)}


def synthetic(contenders: tuple[str, ...], held_out: bool) -> dict[str, Any]:
    """Records of one seed; `auto` wins in training, and prodigy fails."""
    records = {}
    for contender in registry.named(contenders):
        sizes = range(len(contender.step_sizes))
        records[contender.name] = record(*([0.1 * (1 + i)] for i in sizes))
    for name, loss in (("auto", 0.05), ("prodigy", None), ("ponos", 0.2)):
        if name in records:
            best = None if loss is None else 0.1009 if name == "auto" else loss
            records[name] = record([loss], best=[[best]], end=[[loss]])
    return results_of(held_out, **records)


@pytest.fixture
def raced(tmp_path) -> Path:
    """A folder as a quick tournament leaves it."""
    for table in TABLES:
        results = {
            name: store.kept(synthetic(table.contenders, held_out), table.columns)
            for name, held_out in PLAN_TASKS.items()
        }
        store.write(tmp_path / table.file, store.Races(MADE, results))
    return tmp_path


@pytest.mark.slow
def test_command_draws_anew_what_is_there(raced, capsys):
    before = {path: path.read_bytes() for path in raced.iterdir()}
    assert __main__.main(["--quick", "--out", str(raced)]) == 0
    text = (raced / "results.md").read_text()
    assert text in capsys.readouterr().out
    # Of the run that raced, not of this one.
    assert "`the command`\n\ncores 3" in text
    held_out = sum(PLAN_TASKS.values())
    for what, told in (
        ("validation, best checkpoint", "100 % | 1.01 | 1.01"),
        ("validation, end", "100 % | 0.50 | 0.50"),
        ("training, constant only", "100 % | 0.50 | 0.50"),
    ):
        assert f"| {what}; held out | {held_out} | {told}" in text
    failed = next(x for x in text.splitlines() if x.startswith("| prodigy |"))
    assert "failed (" in failed
    assert "| ponos | 100 % | 0 % | 0 % |" in text
    for picture in ("profile.png", "tasks.png"):
        assert (raced / picture).read_bytes().startswith(b"\x89PNG")
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
def test_the_committed_tables_tell_of_the_committed_races():
    made, results = store.read(COMMITTED / "contenders.json")
    directions = store.read(COMMITTED / "directions.json").results
    searches = store.read(COMMITTED / "searches.json").results
    assert set(results) <= set(of_half("report"))
    found = report.numbers(report.with_made_up(results), directions, searches, made)
    assert tables.markdown(found) == (COMMITTED / "results.md").read_text()


def test_claims_are_about_held_out_tasks_and_about_text_and_diffusion():
    """Two held-out races: one within 1 %, one behind by 10 %."""
    grid = record([1.0, 1.0], [2.0, 2.0])
    cosine = record([0.9, 0.9], [2.0, 2.0])
    own = record([0.1, 0.4], best=[[0.9, 0.99]])
    worse = record([2.0, 2.0])
    results = {
        "a": results_of(True, family="text", sgd=grid, sgd_cosine=cosine, auto=own),
        "b": results_of(
            False, family="tables", sgd=grid, sgd_cosine=cosine, auto=worse
        ),
    }
    found = report.numbers(results, {}, {}, {})
    claims = [(claim["value"], claim["met"]) for claim in found["claims"]]
    assert claims == [
        (0.5, False),  # of the held-out races are within 1 % of the cosine
        (pytest.approx(1.1**0.5), False),
        (pytest.approx(0.2), True),  # in training, to the constant steps
        (pytest.approx((0.9 * 0.99) ** 0.5), True),  # text to the constant steps
        (pytest.approx(1.1**0.5), False),  # and to the cosine
    ]
    assert found["families"]["text, held out"]["auto"][report.HEADLINE]["races"] == 2
    assert "| a * | text | sgd_cosine 0.1 | 0.9 | 0.945 | 1.05 |" in tables.markdown(
        found | {"made by": MADE}
    )


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
        (["--tasks", "digits_mlp,mnist"], "unknown task 'mnist'; choose from text"),
        (["--half", "choose", "--tasks", "digits_mlp"], "unknown task 'digits_mlp'"),
        (["--half", "mine"], "--half must be one of all, choose, report, not mine"),
        (["--contenders", "adam,mine"], "unknown contender 'mine'; choose from sgd"),
        (["--quick", "--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--quick", "--seeds", "2"], "holds other seeds or columns"),
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
def test_a_part_is_told_with_what_is_there(raced, capsys):
    """No grid is raced again, and other tasks are not shown."""
    command = ["--half", "choose", "--tasks", QUICK[1], "--seeds", "1"]
    command += ["--contenders", "auto", "--out", str(raced)]
    assert __main__.main(command) == 0
    told = capsys.readouterr().out
    assert f"| {QUICK[1]}" in told
    assert not any(f"| {name}" in told for name in (QUICK[0], QUICK[2]))


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
    losses = {"final", "best", "end"}
    for name, found in records.items():
        more = {"step_sizes"} if name in registry.GRIDS else {"passes"}
        assert set(found) == losses | more
    assert (tmp_path / "results.md").exists()


def test_variants_of_ours_are_told_task_by_task():
    def losses(*best):
        return record(list(best), best=[list(best)], end=[list(best)])

    races = {"sgd": losses(0.1, 0.2), "auto": losses(0.2, 0.4)}
    variant = {**races, "auto_weight_decay": losses(0.1, 0.1)}
    results = {"one": results_of(False, **races), "two": results_of(True, **variant)}
    text = tables.markdown(report.numbers(results, {}, {}, MADE))
    told = text.split("## Variants of `auto`")[1].split("##")[0]
    assert "| one | - |" in told and "| two * | 0.35 |" in told


@pytest.mark.slow
def test_directions_and_searches_may_be_named_too():
    named = "adam,sign,auto(sign),backtracking"
    chosen = __main__.plan(__main__.Settings(half="choose", contenders=named))
    assert chosen.contenders.contenders == ("adam",)
    assert chosen.directions.contenders == ("sign", "auto(sign)")
    assert chosen.searches.contenders == ("backtracking",)
