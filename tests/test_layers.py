"""Imports only point down, files and functions stay small."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "optaxls"

# Low to high. A module may import lower layers only, never its siblings.
LAYERS = {
    "_types": 0,
    "_checks": 0,
    "_tree": 1,
    "_metrics": 1,
    "_momentum": 2,
    "_polyak_ratio": 1,
    "line_search._value_fn": 2,
    "line_search._paths": 2,
    "line_search._resume": 2,
    "line_search._engine": 3,
    "directions": 3,
    "line_search.hindsight": 3,
    "line_search.conditions": 3,
    "line_search.initial_steps": 3,
    "line_search.polyak_steps": 3,
    "line_search.gates": 3,
    "line_search._step": 3,
    "line_search.transform": 4,
    "line_search.extrapolation": 5,
    "line_search.auto_alias": 6,
    "line_search.adam": 4,
    "line_search.extragradient": 5,
    "line_search.sls_aliases": 6,
    "line_search.polyak_aliases": 6,
    "line_search.adam_aliases": 7,
    "sign.sign_descent": 5,
    "training": 2,
    "flax": 2,
    "diagnostics._estimate": 0,
    "diagnostics.gradient_sample": 2,
    "diagnostics.growth": 3,
    "diagnostics.interpolation": 2,
    "diagnostics.labels": 2,
    "diagnostics.shape": 2,
    "diagnostics.ray": 5,
    "diagnostics.records": 6,
    "diagnostics.figure": 7,
    "diagnostics.report": 8,
    "diagnostics._trajectory": 3,
    "diagnostics._findings": 7,
    "diagnostics._recommend": 7,
    "diagnostics.doctor": 9,
}
RUNTIME = {"jax", "optax", "optaxls"}
OWN_EXTRAS = {"flax": {"flax"}, "diagnostics.figure": {"matplotlib"}}
ALIAS_FILES = ("sls_aliases", "polyak_aliases", "adam_aliases")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}
SOURCES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "examples").rglob("*.py"))
every_source = pytest.mark.parametrize(
    "path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES]
)


def imported(path: Path) -> list[str]:
    """Absolute dotted names of all that a file imports, wherever it does so."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def internal(name: str) -> str | None:
    """The module of this package that an imported name lies in."""
    if not name.startswith("optaxls."):
        return None
    parts = name.removeprefix("optaxls.").split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in MODULES:
            return ".".join(parts[:length])
    raise AssertionError(f"{name}: not a module of optaxls")


def test_every_module_has_a_layer():
    assert set(MODULES) == set(LAYERS)


@pytest.mark.parametrize("module", LAYERS)
def test_imports_point_down(module):
    for name in imported(MODULES[module]):
        if (target := internal(name)) is not None:
            assert LAYERS[target] < LAYERS[module], f"{module} imports {name}"


@pytest.mark.parametrize("module", LAYERS)
def test_runtime_dependencies_are_jax_and_optax(module):
    allowed = RUNTIME | set(sys.stdlib_module_names)
    allowed |= OWN_EXTRAS.get(module, set())
    assert {name.split(".")[0] for name in imported(MODULES[module])} <= allowed


def test_importing_the_package_does_not_import_flax():
    for name, path in MODULES.items():
        if name != "flax":
            assert "optaxls.flax" not in ".".join(imported(path))
    assert not any("flax" in name for name in imported(PACKAGE / "__init__.py"))


def test_nothing_imports_the_diagnostics():
    """They read what the rules leave behind; no rule needs them, nor matplotlib."""
    for name, path in MODULES.items():
        if not name.startswith("diagnostics."):
            assert "diagnostics" not in ".".join(imported(path)), name
    assert "diagnostics" not in ".".join(imported(PACKAGE / "__init__.py"))


def test_the_figure_alone_needs_matplotlib():
    importers = [
        name
        for name, path in MODULES.items()
        if "optaxls.diagnostics.figure.draw" in imported(path)
    ]
    assert importers == ["diagnostics.report"]
    source = MODULES["diagnostics.report"].read_text()
    # Inside the method, so that a diagnosis without a figure does without it.
    assert "\n        from optaxls.diagnostics.figure import draw" in source


def code_lines(node: ast.AST, source: list[str]) -> int:
    """Lines of a function that hold code: no docstring, comment or blank line."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    body = node.body
    skipped = set()
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        if isinstance(first.value.value, str):
            skipped = set(range(first.lineno, (first.end_lineno or 0) + 1))
    assert node.end_lineno is not None
    lines = [
        source[number - 1].strip()
        for number in range(node.lineno, node.end_lineno + 1)
        if number not in skipped
    ]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def functions(path: Path):
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node, code_lines(node, source.splitlines())


@every_source
def test_files_are_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


@every_source
def test_functions_are_at_most_50_code_lines(path):
    too_long = {node.name: count for node, count in functions(path) if count > 50}
    assert too_long == {}


@pytest.mark.parametrize("name", ALIAS_FILES)
def test_aliases_are_at_most_25_lines_of_composition(name):
    """The body: arguments and docstring not counted."""
    path = PACKAGE / "line_search" / f"{name}.py"
    source = path.read_text().splitlines()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None
            signature = node.body[0].lineno - node.lineno
            assert code_lines(node, source) - signature <= 25, node.name


def test_shared_test_problems_stay_small():
    tests = ROOT / "tests"
    assert len((tests / "problems.py").read_text().splitlines()) < 200
    for path in tests.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_examples_import_the_public_package_only():
    for path in (ROOT / "examples").rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "optaxls":
                assert not any(part.startswith("_") for part in parts), name
                assert "line_search" not in parts[1:-1], f"{path}: {name}"
