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
    found = store.kept(RESULTS["one"], ("reached",))
    assert {name: set(record) for name, record in found["records"].items()} == {
        "sgd": {"step_sizes", "final"},
        "auto": {"final", "reached"},
    }
    assert found["initial"] == RESULTS["one"]["initial"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"made by": {}, "tasks": []}'])
def test_a_damaged_file_is_refused(file, content):
    file.write_text(content)
    with pytest.raises(UsageError, match="races.json is damaged; remove it"):
        store.read(file)


@pytest.mark.parametrize(
    ("names", "contenders", "seeds", "refused"),
    [
        (["one"], ("auto", "sgd"), 2, False),
        (["one"], ("auto", "sgd"), 3, True),
        (["two"], ("auto",), 2, True),
        (["three"], ("auto",), 3, False),
    ],
)
def test_races_of_others_are_refused_where_they_are_asked_for(
    file, names, contenders, seeds, refused
):
    table = Table(file.name, contenders)
    if not refused:
        return store.check(file, names, table, seeds)
    with pytest.raises(UsageError, match="holds other contenders or seeds"):
        store.check(file, names, table, seeds)


def test_what_is_there_is_not_raced_again(file):
    """In the order asked for, and with the word of those who raced."""
    table = Table(file.name, ("sgd", "auto"))
    made = {"command": "another"}
    found = tournament.run(["two", "one"], table, 2, file.parent, 1, made)
    assert found == Races(MADE, RESULTS)
    assert list(found.results) == ["two", "one"]


def test_a_race_leaves_what_the_tables_read():
    grids = [c._replace(step_sizes=(1e-3, 0.1)) for c in contenders.CONSTANT_GRIDS]
    auto = next(c for c in contenders.OURS if c.name == "auto")
    found = tournament.race_task(tiny_task(), [*grids, auto], seeds=2)
    own, sgd = found["records"]["auto"], found["records"]["sgd"]
    assert sgd["step_sizes"] == [0.001, 0.1]
    assert [len(row) for row in sgd["final"]] == [2, 2]
    for seed in range(2):
        assert own["lowest"][seed] <= own["final"][0][seed] < found["initial"][seed]
        paid = 3 * own["steps"][seed] + own["trials"][seed]
        assert 3 * (STEPS - 1) - own["trials"][seed] < paid <= 3 * STEPS
        best = min(
            row[seed]
            for grid in ("sgd", "adam")
            for row in found["records"][grid]["final"]
        )
        share = own["reached"][seed]
        if share is None:
            assert own["lowest"][seed] > best
        else:
            assert own["lowest"][seed] <= best and 0 < share <= 1
    assert "lowest" not in sgd and "reached" not in sgd
