"""Rooms, folders, files and functions stay small; examples stay examples."""

import ast
from collections import Counter

import pytest

from tests.structure.source import (
    EXAMPLES,
    FILES,
    PACKAGE,
    ROOT,
    TESTS,
    code_lines,
    functions,
    imported,
    num_lines,
    python_files,
    relative,
    syntax,
)
from tests.structure.still import DEFINING, FULL, LONG

# Optimizers of others that the benchmark races, where optax has none of their parts.
RIVALS = {"examples/benchmark/gen.py"}
LIBRARY_AND_EXAMPLES = python_files(PACKAGE) + python_files(EXAMPLES)


def test_no_room_holds_more_than_three_tenths_of_the_library():
    lines = Counter()
    for module, path in FILES.items():
        lines[module.split(".")[0]] += num_lines(path)
    for room, count in lines.items():
        assert count <= 0.3 * lines.total(), f"{room}: {count} of {lines.total()}"


def test_no_folder_holds_more_than_eight_files():
    count = Counter(path.parent for path in FILES.values())
    full = {str(f.relative_to(PACKAGE)): n for f, n in count.items() if n > 8}
    assert full == FULL


@pytest.mark.parametrize("folder", [PACKAGE, EXAMPLES, TESTS], ids=lambda f: f.name)
def test_files_are_at_most_400_lines(folder):
    long = {relative(p): num_lines(p) for p in python_files(folder)}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_functions_are_at_most_50_code_lines():
    found = {
        f"{relative(path)}: {name}": lines
        for path in LIBRARY_AND_EXAMPLES
        for name, lines in functions(path)
        if lines > 50
    }
    assert found == {}


def test_optimizers_are_at_most_25_lines_of_composition():
    """The body: arguments and docstring not counted."""
    for path in python_files(PACKAGE / "optimizers"):
        source = path.read_text().splitlines()
        for node in syntax(path).body:
            if isinstance(node, ast.FunctionDef):
                arguments = node.body[0].lineno - node.lineno
                lines = code_lines(node, source) - arguments
                assert lines <= 25, f"{relative(path)}: {node.name}"


def test_shared_test_problems_stay_small():
    assert num_lines(TESTS / "problems.py") < 200


def test_the_examples_in_front_are_at_most_120_lines():
    lines = {path.name: num_lines(path) for path in EXAMPLES.glob("*.py")}
    assert {name for name, count in lines.items() if count > 120} == LONG


def test_no_example_defines_a_transformation():
    """What makes one belongs in the library, but for rivals of the benchmark."""
    found = set()
    for path in python_files(EXAMPLES):
        for node in ast.walk(syntax(path)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.split(".")[-1].startswith("GradientTransformation"):
                found.add(relative(path))
    assert found - RIVALS == DEFINING


def test_examples_import_public_names_only():
    for path in python_files(EXAMPLES):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "optaxls":
                inner = ("flax", "diagnostics", "linear")
                allowed = len(parts) <= 2 or parts[1] in inner
                assert allowed and not any(p.startswith("_") for p in parts), name


def test_the_shares_of_library_tests_and_examples(record_property):
    """Told at the end of the run; the annex should not outgrow the house."""
    library, tests, examples = (
        sum(map(num_lines, python_files(folder)))
        for folder in (PACKAGE, TESTS, EXAMPLES)
    )
    ratio = f"1 : {tests / library:.2f} : {examples / library:.2f}"
    record_property("shares", f"{ratio}, of {library} lines in the library")
    assert tests < 2.5 * library


def test_ci_runs_the_test_command_of_the_readme():
    blocks = (ROOT / "README.md").read_text().split("```bash\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    (command,) = {line for line in lines if line.endswith("pytest -n 2")}
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
