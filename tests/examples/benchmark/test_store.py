"""The file that keeps the races: what goes in comes out, a race is a line."""

import json
import math

import pytest

from examples.benchmark import contenders, store, tournament
from examples.benchmark.store import Races, Table
from examples.common.errors import UsageError
from tests.examples.benchmark.records import SGD, record, results_of
from tests.examples.benchmark.tiny_task import STEPS, tiny_task

MADE = {"command": "the command", "cores": 3}
RESULTS = {
    "one": results_of(sgd=SGD, auto=record([0.1, None])),
    "two": results_of(True, sgd=SGD, auto=record([0.3, 0.2])),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "new" / "races.json"
    store.write(path, Races(MADE, RESULTS))
    return path


def test_what_was_written_is_read(file):
    assert store.read(file) == Races(MADE, RESULTS)
    assert list(store.read(file).results) == ["one", "two"]


def test_a_race_is_one_line(file):
    lines = file.read_text().splitlines()
    assert sum(line.startswith(('"sgd": {', '"auto": {')) for line in lines) == 4
    changed = {**RESULTS["one"]["records"], "auto": record([0.1, 0.2])}
    more = {**RESULTS, "one": {**RESULTS["one"], "records": changed}}
    store.write(file, Races(MADE, more))
    other = file.read_text().splitlines()
    assert sum(a != b for a, b in zip(lines, other, strict=True)) == 1


def test_numbers_have_five_digits_and_no_infinity():
    given = {"a": [1 / 3, math.inf], "b": (math.nan, 7), "c": {"d": 123456.0}}
    found = store.rounded(given)
    assert found == {"a": [0.33333, None], "b": [None, 7], "c": {"d": 123460.0}}
    assert json.loads(store.text(found)) == found


def test_only_the_columns_of_a_table_are_kept():
    found = store.kept(RESULTS["one"], ("passes",))
    assert {name: set(record) for name, record in found["records"].items()} == {
        "sgd": {"step_sizes", "final"},
        "auto": {"final", "passes"},
    }
    assert found["initial"] == RESULTS["one"]["initial"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"made by": {}, "tasks": []}'])
def test_a_damaged_file_is_refused(file, content):
    file.write_text(content)
    with pytest.raises(UsageError, match="races.json is damaged; remove it"):
        store.read(file)


@pytest.mark.parametrize(
    ("names", "columns", "seeds", "refused"),
    [
        (["one"], ("best",), 2, False),
        (["one"], ("best",), 3, True),
        (["old"], (), 2, False),
        (["old"], ("best",), 2, True),
        (["large"], (), 3, False),
        (["three"], ("best",), 3, False),
    ],
)
def test_races_of_other_seeds_or_columns_are_refused_where_they_are_asked_for(
    file, names, columns, seeds, refused
):
    old = store.kept(RESULTS["one"], ())
    large = results_of(sgd=record([0.1])) | {"large": True}
    store.write(file, Races(MADE, {**RESULTS, "old": old, "large": large}))
    table = Table(file.name, ("auto",), columns)
    if not refused:
        return store.check(file, names, table, seeds)
    with pytest.raises(UsageError, match="holds other seeds or columns"):
        store.check(file, names, table, seeds)


@pytest.fixture
def tiny(monkeypatch):
    """Three tasks that take no time, one of them large."""
    made = {name: tiny_task() for name in ("one", "two")}
    made["large"] = tiny_task(large=True)
    makers = {name: lambda task=task: task for name, task in made.items()}
    monkeypatch.setattr(tournament, "TASKS", makers)


def test_only_what_is_missing_is_raced(file, tiny):
    races = store.read(file)
    table = Table(file.name, ("sgd", "auto", "adam", "ponos"))
    names = ("one", "two", "large")
    missing = tournament._missing(names, table, races, ("auto",))
    assert {name: left.contenders for name, left in missing.items()} == {
        "one": ("adam", "auto", "ponos"),
        "two": ("adam", "auto", "ponos"),
        "large": ("sgd", "adam", "auto"),
    }
    nothing = tournament._missing(("one",), Table(file.name, ("sgd",)), races, ())
    assert nothing == {}
    new = results_of(adam=record([0.5, 0.5]), auto=record([0.2, 0.2]))
    merged = tournament._merged(races, "one", new)
    assert list(merged["one"]["records"]) == ["sgd", "adam", "auto"]
    assert merged["one"]["records"]["auto"] == record([0.2, 0.2])
    assert merged["two"] == RESULTS["two"]


def test_what_is_there_is_not_raced_again(file, tiny):
    """With the word of those who raced."""
    table = Table(file.name, ("sgd", "auto"))
    made = {"command": "another"}
    found = tournament.run(["one", "two"], table, 2, file.parent, 1, made)
    assert found == Races(MADE, RESULTS)


@pytest.mark.long
def test_a_race_leaves_what_the_tables_read():
    grids = [c._replace(step_sizes=(1e-3, 0.1)) for c in contenders.CONSTANT_GRIDS]
    auto = next(c for c in contenders.OURS if c.name == "auto")
    found = tournament.race_task(tiny_task(), [*grids, auto], seeds=2)
    assert found["family"] == "tables" and not found["negative"]
    own, sgd = found["records"]["auto"], found["records"]["sgd"]
    assert sgd["step_sizes"] == [0.001, 0.1]
    assert [len(row) for row in sgd["final"]] == [2, 2]
    assert "passes" not in sgd
    for seed in range(2):
        # Its rows to validate are those that it trains on.
        assert found["initial_valid"][seed] == found["initial"][seed]
        assert own["end"][0][seed] == own["final"][0][seed] < found["initial"][seed]
        assert own["best"][0][seed] <= own["end"][0][seed]
        paid = 3 * own["steps"][seed] + own["trials"][seed]
        assert paid == own["passes"][seed]
        assert 3 * (STEPS - 1) - own["trials"][seed] < paid <= 3 * STEPS
