"""The benchmark: its arithmetic on made-up records, its budget, its command."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from examples.benchmark import (
    __main__,
    race,
    registry,
    report,
    scores,
)
from examples.benchmark.contenders import Contender
from examples.benchmark.scores import RATIO_CAP
from examples.benchmark.tasks import QUICK, Task
from tests.examples.benchmark.tiny_task import STEPS, tiny_task
from tests.examples.conftest import ROOT


def record(*final: Sequence[float | None], scores: Any = None, initial=1.0) -> dict:
    """A record with a row of final losses for each step size."""
    sizes = [None] if len(final) == 1 else [0.1 * (i + 1) for i in range(len(final))]
    seeds = len(final[0])
    found = {
        "step_sizes": sizes,
        "initial": [initial] * seeds,
        "final": [list(row) for row in final],
        "scores": scores or [[0.5] * seeds for _ in final],
        "trials": [[0.0] * seeds for _ in final],
        "milliseconds": 0.1,
    }
    if len(final) == 1:
        # Half-way it has come half as far, on a log scale.
        half = [None if x is None else math.sqrt(initial * x) for x in final[0]]
        curves = zip(half, final[0], strict=True)
        found["losses"] = [[initial, *rest] for rest in curves]
        found["costs"] = [[0.0, 1.5 * STEPS, 3.0 * STEPS]] * seeds
        found["last_step_size"] = [0.1] * seeds
    return found


def results_of(held_out: bool = False, **records: dict) -> dict[str, Any]:
    return {"held_out": held_out, "num_steps": STEPS, "records": records}


SGD = record([0.4, 0.1], [0.2, None], scores=[[0.9, 0.8], [0.7, 0.95]])
ADAM = record([0.3, 0.3], [0.5, 0.2], scores=[[0.6, 0.6], [0.6, 0.9]])


@pytest.fixture
def task() -> dict[str, Any]:
    return results_of(sgd=SGD, adam=ADAM, auto=record([0.1, 0.2]))


def test_the_grid_is_its_best_run_in_each_race(task):
    found = scores.best(task, ("sgd", "adam"))
    np.testing.assert_array_equal(found.losses, [0.2, 0.1])
    assert found.names == ["sgd 0.2", "sgd 0.1"]
    # Of the very runs with these losses; others of the grid scored higher.
    np.testing.assert_array_equal(found.scores, [0.7, 0.8])
    np.testing.assert_array_equal(found.top_scores, [0.9, 0.95])
    np.testing.assert_allclose(scores.ratios(task, "auto", ("sgd", "adam")), [0.5, 2])
    np.testing.assert_allclose(scores.ratios(task, "auto", ("adam",)), [1 / 3, 1])
    to_run, to_top = scores.score_gaps(task, "auto", ("sgd", "adam"))
    np.testing.assert_allclose(to_run, [-0.2, -0.3])
    np.testing.assert_allclose(to_top, [-0.4, -0.45])


@pytest.mark.parametrize(
    "own, other, ratio",
    [
        (2e-7, 9e-7, 1.0),  # both below a millionth of the initial loss
        (9e-7, 2e-7, 1.0),
        (3e-6, 2e-7, 3.0),  # a loss above the floor is compared with the floor
        (0.0, 0.5, 2e-6),
        (None, 0.5, math.inf),
        (None, None, 1.0),
        (0.5, None, 1 / RATIO_CAP),
    ],
)
def test_ratio_of_tiny_losses_and_of_failures(own, other, ratio):
    task = results_of(sgd=record([other]), auto=record([own]))
    np.testing.assert_allclose(scores.ratios(task, "auto", ("sgd",)), ratio)


def test_floor_belongs_to_the_initial_loss():
    task = results_of(
        sgd=record([5e-5], initial=100.0), auto=record([1e-7], initial=100.0)
    )
    np.testing.assert_array_equal(scores.ratios(task, "auto", ("sgd",)), [1.0])


def test_failures_count_in_a_mean_but_only_so_much():
    assert scores.geometric_mean(np.array([4.0, 0.25])) == pytest.approx(1)
    assert scores.geometric_mean(np.array([math.inf])) == pytest.approx(RATIO_CAP)
    assert scores.geometric_mean(np.array([1e9, 1e-3])) == pytest.approx(1)


def test_comparison_over_tasks():
    grid = record([1.0, 1.0])
    results = {
        "one": results_of(sgd=grid, auto=record([0.25, 2.0])),
        "two": results_of(sgd=grid, auto=record([1.0, 8.0])),
        "three": results_of(sgd=grid, auto=record([1.0, 1.0])),
    }
    found = scores.compare(results, "auto", ("sgd",))
    assert found.races == 6
    assert found.wins == pytest.approx(4 / 6)
    # Geometric means of the tasks: 0.71, 2.83 and exactly 1.
    assert found.task_wins == pytest.approx(2 / 3)
    assert found.geometric_mean == pytest.approx(4 ** (1 / 6))
    assert found.median == 1 and found.worst == 8 and found.worst_task == "two"
    ratios = scores.all_ratios(results, "auto", ("sgd",))
    assert scores.profile(ratios, [0.2, 0.25, 1, 2, 100]) == pytest.approx(
        [0, 1 / 6, 4 / 6, 5 / 6, 1]
    )


def test_pairs_race_by_race():
    results = {
        "one": results_of(auto=record([0.1, 0.1]), ponos=record([0.2, 0.1])),
        "two": results_of(auto=record([0.1, 1e-8]), ponos=record([None, 1e-9])),
    }
    assert scores.pair(results, "auto", "ponos") == (0.5, 0.5, 0)
    assert scores.pair(results, "ponos", "auto") == (0, 0.5, 0.5)


def test_cost_to_reach_the_grids_best():
    grid = record([0.1, 0.1, 0.1, 1e-9])
    own = record([0.01, 0.05, None, 1e-12])
    task = results_of(sgd=grid, auto=own)
    # The first is there half-way, at sqrt(0.01); the fourth is a millionth half-way,
    # where the grid's loss, below the floor, counts as reached.
    costs = scores.costs_to_best(task, "auto", ("sgd",))
    assert costs == [0.5, 1.0, None, 0.5]
    several = results_of(sgd=SGD, auto=own)
    assert scores.costs_to_best(several, "sgd", ("sgd",)) == [None, None]


def test_one_size_everywhere_is_the_best_compromise():
    # Each size is best on one task; the second loses little on the other.
    results = {
        "one": results_of(sgd=record([0.1], [0.2])),
        "two": results_of(sgd=record([0.9], [0.1])),
    }
    assert scores.single_size(results, "sgd") == 1
    added = scores.with_single_size(results, "sgd", 1)
    assert scores.all_ratios(added, "sgd everywhere", ("sgd",)) == pytest.approx([2, 1])
    assert "sgd everywhere" not in results["one"]["records"]


def test_groups_of_tasks():
    results = {name: results_of(name == "b", sgd=SGD) for name in "abc"}
    groups = scores.by_group(results)
    assert {group: list(tasks) for group, tasks in groups.items()} == {
        "all": ["a", "b", "c"],
        "held out": ["b"],
        "looked at": ["a", "c"],
    }
    assert "held out" not in scores.by_group({"a": results["a"]})


@pytest.mark.parametrize("rows, batch_size", [(50, 8), (16, 8), (10, 10)])
def test_no_row_comes_twice_in_an_epoch(rows, batch_size):
    task = tiny_task(rows, batch_size=batch_size)
    batches, per_epoch = task.batches(seed=1), rows // batch_size
    assert batches.shape == (STEPS, batch_size)
    for start in range(0, STEPS, per_epoch):
        seen = batches[start : start + per_epoch].ravel()
        assert len(set(seen)) == len(seen) and seen.max() < rows
    assert (batches != task.batches(seed=2)).any()


def by_hand(optimizer: Any, task: Task, seed: int) -> tuple[float, int, int]:
    """Loss, cost and trials of a run without the steps that it could not pay."""
    x, y = jnp.asarray(task.split.x_train), jnp.asarray(task.split.y_train)
    step = jax.jit(optaxls.make_step(task.mean_loss, optimizer))
    params = task.init(jax.random.key(seed))
    state, cost, trials = optimizer.init(params), 0, 0
    for rows in task.batches(seed):
        result = step(params, state, x[rows], y[rows])
        tried = int(result.metrics.get("num_trials", 0))
        if cost + 3 + tried > 3 * task.num_steps:
            continue
        params, state = result.params, result.opt_state
        cost, trials = cost + 3 + tried, trials + tried
    return float(task.mean_loss(params, x, y)), cost, trials


class Searched(NamedTuple):
    """The count that `race` reads from optax's own searches."""

    num_linesearch_steps: jax.Array


def two_trials(step_size: float) -> optax.GradientTransformation:
    """Gradient descent that says it made two trials."""
    return optax.GradientTransformation(
        lambda params: Searched(jnp.int32(0)),
        lambda updates, state, params=None: (
            jax.tree.map(lambda u: -step_size * u, updates),
            Searched(jnp.int32(2)),
        ),
    )


@pytest.mark.parametrize("trial_cost, steps", [(1, 12), (3, 6)])
def test_a_step_is_made_only_if_its_trials_can_be_paid(trial_cost, steps):
    searching = Contender(
        "two", lambda size, task: two_trials(0.1), trial_cost=trial_cost
    )
    curves = race.run(tiny_task(), searching, [1])
    # 60 forward passes, 5 or 9 for each step.
    assert curves.costs[0, 0, -1] == steps * (3 + 2 * trial_cost)
    assert curves.trials[0, 0] == 2 * steps
    grid = Contender("sgd", lambda size, task: optax.sgd(size), (0.1,))
    plain = race.run(tiny_task(), grid, [1])
    np.testing.assert_allclose(
        curves.losses[0, 0, -1], plain.losses[0, 0, steps], rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ponos", "auto"])
def test_a_search_is_paid_as_a_loop_by_hand_pays_it(name):
    task, optimizer = tiny_task(), getattr(optaxls, name)()
    curves = race.run(task, Contender(name, lambda size, task: optimizer), [0, 3])
    for number, seed in enumerate((0, 3)):
        loss, cost, trials = by_hand(optimizer, task, seed)
        assert trials > 0 and cost <= 3 * STEPS
        assert curves.costs[0, number, -1] == cost
        assert curves.trials[0, number] == trials
        np.testing.assert_allclose(curves.losses[0, number, -1], loss, rtol=1e-4)


def test_without_trials_all_steps_are_made_with_every_size():
    grid = Contender("sgd", lambda size, task: optax.sgd(size), (0.0, 0.1))
    curves = race.run(tiny_task(), grid, [0, 1])
    assert curves.costs[..., -1].tolist() == [[3 * STEPS] * 2] * 2
    assert curves.losses.shape == (2, 2, race.CHECKPOINTS + 1)
    np.testing.assert_array_equal(curves.losses[0, :, 0], curves.losses[0, :, -1])
    assert (curves.losses[1, :, -1] < curves.losses[1, :, 0]).all()


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
    for folder, contenders in (
        ("main", registry.QUICK),
        ("directions", ("sign", "auto(sign)")),
        ("searches", registry.SEARCHES),
    ):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(QUICK):
            found = synthetic(contenders, held_out=number > 0)
            (tmp_path / folder / f"{name}.json").write_text(json.dumps(found))
    return tmp_path


def test_command_reports_what_it_finds(raced, capsys):
    assert __main__.main(["--quick", "--out", str(raced)]) == 0
    text = capsys.readouterr().out
    assert (raced / "results.md").read_text() in text
    assert f"`python -m examples.benchmark --quick --out {raced}`" in text
    found = json.loads((raced / "results.json").read_text())
    own = found["contenders"]["held out"]["auto"]
    assert own["to constant"]["races"] == 2 and own["to constant"]["wins"] == 1
    assert own["to constant"]["geometric_mean"] == pytest.approx(0.5)
    assert found["contenders"]["all"]["sls"]["to constant"]["worst"] is None
    assert found["pairs"]["ponos"] == {"ahead": 1, "tied": 0, "behind": 0}
    assert found["made by"]["jax"] == jax.__version__
    for picture in ("profile.png", "tasks.png"):
        assert (raced / picture).read_bytes().startswith(b"\x89PNG")


def test_lost_races_are_told(raced):
    file = raced / "main" / f"{QUICK[0]}.json"
    results = {QUICK[0]: json.loads(file.read_text())}
    results[QUICK[0]]["records"]["auto"] = record([0.12])
    found = report.numbers(results, {}, {}, {})
    (lost,) = found["exceptions"]
    assert lost["ratio"] == pytest.approx(1.2) and lost["grid's run"].startswith("sgd")
    claims = {claim["claim"]: claim["met"] for claim in found["claims"]}
    assert not claims["worst ratio to it"]


def test_what_adaptive_backtracking_saves():
    """Of 20 gradients, three passes each; the budget is 60 passes."""
    plain, adaptive = record([0.1, 0.4]), record([0.2, 0.1])
    plain["trials"], adaptive["trials"] = [[15.0, 24.0]], [[0.0, 15.0]]
    searches = {
        "one": results_of(backtracking=plain, adaptive_backtracking=adaptive),
        "two": results_of(backtracking=adaptive, adaptive_backtracking=plain),
    }
    own = record([0.1, 0.1])
    main = {name: results_of(sgd=SGD, adam=ADAM, auto=own) for name in searches}
    found = report.numbers(main, {}, searches, {})
    # 15 trials leave 45 passes, so 15 steps; 24 leave 36, so 12.
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
    found = json.loads((tmp_path / "results.json").read_text())
    assert set(found["tasks"]) == {QUICK[-1]}
    assert set(registry.QUICK) - set(registry.GRIDS) < set(found["contenders"]["all"])
