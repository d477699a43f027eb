"""The underscore means private, and the headings of the package tell the truth."""

import inspect
import re

import optaxls
import optaxls.diagnostics
import optaxls.flax
import optaxls.linear
import optaxls.prox
from tests.structure.source import (
    FILES,
    MODULES,
    defined,
    is_named_tuple,
    is_private,
    syntax,
)
from tests.structure.still import EXPORTED_FROM_PRIVATE, INNER_BUT_PUBLIC

EXPORTED = {
    name
    for module in ("", "diagnostics", "linear", "prox")
    for node in syntax(MODULES[module]).body
    for name in [alias.asname for alias in getattr(node, "names", [])]
} | {name for name in defined(FILES["flax"]) if not name.startswith("_")}


def inner_names(module: str) -> set[str]:
    """Names without an underscore that are not exported. Users meet the classes of
    memories and states in a state, and never build one."""
    return {
        name
        for name, node in defined(FILES[module]).items()
        if not name.startswith("_")
        and name not in EXPORTED
        and not (is_named_tuple(node) and name.endswith(("Memory", "State")))
    }


def test_what_is_not_exported_begins_with_an_underscore():
    found = {m: inner_names(m) for m in FILES if not is_private(m)}
    assert {m: names for m, names in found.items() if names} == INNER_BUT_PUBLIC


def test_what_is_exported_lies_in_no_private_file():
    found = set()
    packages = (
        optaxls,
        optaxls.diagnostics,
        optaxls.flax,
        optaxls.linear,
        optaxls.prox,
    )
    for package in packages:
        for name, thing in vars(package).items():
            module = getattr(thing, "__module__", "") or ""
            if name.startswith("_") or inspect.ismodule(thing):
                continue
            if module.startswith("optaxls.") and is_private(module[8:]):
                found.add(name)
    assert found == EXPORTED_FROM_PRIVATE


def test_every_exported_name_is_exported_under_its_own_name():
    for module in ("", "diagnostics", "linear", "prox"):
        for node in syntax(MODULES[module]).body:
            for alias in getattr(node, "names", []):
                assert alias.asname == alias.name, f"{module}: {alias.name}"


# The first word of a heading in optaxls/__init__.py, and the folder that it names.
HEADINGS = {
    "Optimizers": ("optimizers",),
    "Training": ("training",),
    "Transforms": ("transforms",),
    "Directions": ("directions",),
    "Conditions": ("parts.conditions",),
    "Initial steps": ("parts.initial_steps",),
    "Searches": ("parts.searches",),
    "Paths": ("parts.paths",),
    "Parts": ("parts.gates", "parts.types"),
}


def test_the_headings_of_the_package_name_the_folder_of_what_stands_below_them():
    found, heading = {}, None
    for line in MODULES[""].read_text().splitlines():
        if match := re.match(r"# ([A-Z][\w ]*):", line):
            heading = match[1]
            found[heading] = 0
        elif match := re.match(r"from optaxls\.([\w.]+) import", line):
            assert heading is not None, line
            folders = HEADINGS[heading]
            assert any(match[1].startswith(f"{f}.") or match[1] == f for f in folders)
            found[heading] += 1
    assert list(found) == list(HEADINGS) and all(found.values())
