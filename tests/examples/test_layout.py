"""The folders of examples/ do not lean on each other, and define no optimizers."""

import ast
from pathlib import Path

from tests.examples.conftest import ROOT

EXAMPLES = ROOT / "examples"
FOLDERS = ("benchmark", "common", "doctor", "talk", "training")
# The entry points of the trainers.
COMMANDS = ("train.py", "train_lm.py")
MODULES = sorted(path for path in EXAMPLES.rglob("*.py") if path.stem != "__init__")


def rooms_imported(path: Path) -> set[str]:
    """The folders and files directly below examples/ that a module imports from."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "examples":
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module.startswith("examples."):
                names.append(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("examples") for alias in node.names)
    return set(names)


def test_there_are_no_other_folders():
    found = {path.parent for path in MODULES}
    assert found == {EXAMPLES, *(EXAMPLES / folder for folder in FOLDERS)}


def may_import(path: Path) -> set[str]:
    """Where a module may import from, by the folder that it lies in."""
    room = path.parent.name
    if room == "examples":
        return {"common", "training"} if path.name in COMMANDS else set()
    return {"common", room}


def test_a_folder_imports_itself_and_what_is_common():
    for path in MODULES:
        assert rooms_imported(path) <= may_import(path), path


def test_no_optimizer_is_defined():
    """But for a rival of the benchmark that no library offers to JAX."""
    names = {"GradientTransformation", "GradientTransformationExtraArgs"}
    rivals = {ROOT / "examples" / "benchmark" / "gen.py"}
    for path in set(MODULES) - rivals:
        called = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert not called & names, path


def test_every_folder_has_tests():
    for folder in FOLDERS:
        assert list((ROOT / "tests" / "examples" / folder).glob("test_*.py")), folder
