"""The rooms of the package: which folder may import which."""

import graphlib
import importlib
import sys

from tests.structure.source import FILES, MODULES, PACKAGE, imported, imported_modules
from tests.structure.still import HIDDEN, UPWARDS

_CORE = {"parts.types", "_core"}
FAMILIES = {
    "parts.conditions",
    "parts.initial_steps",
    "parts.searches",
    "parts.paths",
    "parts.proximal",
    "parts.gates",
}
# What each room may import, beside itself. Families of parts never import each other.
BELOW = (
    {"parts.types": set(), "_core": set()}
    | dict.fromkeys(FAMILIES, _CORE)
    | {"_engine": _CORE | FAMILIES}
)
BELOW["directions"] = BELOW["_engine"] | {"_engine"}
BELOW["transforms"] = BELOW["directions"] | {"directions"}
BELOW["optimizers"] = BELOW["transforms"] | {"transforms"}
BELOW["training"] = _CORE
BELOW["linear"] = BELOW["optimizers"] | {"optimizers", "training"}
BELOW["prox"] = {"parts.types", "parts.proximal"}
BELOW["flax"] = _CORE | {"training"}
BELOW["diagnostics"] = BELOW["optimizers"] | {"optimizers", "training"}
BELOW["diagnostics.doctor"] = BELOW["diagnostics"] | {"diagnostics"}

RUNTIME = {"jax", "optax", "optaxls"} | set(sys.stdlib_module_names)
OWN_EXTRAS = {
    "flax": "flax",
    "diagnostics.doctor._figure": "matplotlib",
}


def room(module: str) -> str:
    """The innermost room that a module lies in."""
    found = [r for r in BELOW if module == r or module.startswith(f"{r}.")]
    assert found, f"{module} lies in no room: give it one in BELOW"
    return max(found, key=len)


EDGES = {
    (module, target)
    for module, path in FILES.items()
    for target in imported_modules(path)
    # ``from optaxls._core import trees`` names the file as well.
    if target in FILES
}


def test_every_file_lies_in_a_room():
    assert {room(module) for module in FILES} <= set(BELOW)


def test_imports_point_down_between_rooms():
    up = {
        (module, target)
        for module, target in EDGES
        if room(target) not in BELOW[room(module)] | {room(module)}
    }
    assert up == UPWARDS


def test_there_is_no_circle_of_folders():
    graph: dict[str, set[str]] = {}
    for module, target in EDGES - UPWARDS:
        if room(module) != room(target):
            graph.setdefault(room(module), set()).add(room(target))
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) > 8


def test_there_is_no_circle_of_files():
    graph: dict[str, set[str]] = {}
    for module, target in EDGES:
        graph.setdefault(module, set()).add(target)
    graphlib.TopologicalSorter(graph).prepare()


def test_runtime_dependencies_are_jax_and_optax():
    for module, path in FILES.items():
        needed = {name.split(".")[0] for name in imported(path)} - RUNTIME
        assert needed <= {OWN_EXTRAS.get(module)}, module


def reached(start: str) -> set[str]:
    """All modules that importing one brings in."""
    seen, ahead = set(), [start]
    while ahead:
        module = ahead.pop()
        if module not in seen:
            seen.add(module)
            ahead += imported_modules(MODULES[module])
    return seen


def test_importing_the_package_imports_neither_flax_nor_the_diagnostics():
    modules = reached("")
    assert "optimizers.auto" in modules
    apart = ("flax", "diagnostics", "linear")
    assert not {m for m in modules if m.split(".")[0] in apart}
    outside = {name.split(".")[0] for m in modules for name in imported(MODULES[m])}
    assert not outside & {"flax", "matplotlib"}


def test_the_packages_inside_export_nothing():
    """Else a name may stand before the module of the same name."""
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name not in ("", "diagnostics", "linear"):
            text = path.read_text()
            assert "import" not in text, f"{path.relative_to(PACKAGE)}: {text}"


def test_no_public_name_hides_a_module():
    """``import optaxls.a.b as x`` gives the module ``b``, not a function."""
    hidden = set()
    for name in MODULES.keys() - {""}:
        module = importlib.import_module(f"optaxls.{name}")
        package, _, last = module.__name__.rpartition(".")
        if getattr(importlib.import_module(package), last) is not module:
            hidden.add(name)
    assert hidden == HIDDEN
