"""The source of the package as the structure tests read it: files, imports, names."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE, EXAMPLES, TESTS = ROOT / "optaxls", ROOT / "examples", ROOT / "tests"


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    """``parts.conditions.monotone``; a package has the name of its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The package itself, whose ``__init__`` exports and defines nothing, is "".
MODULES = {module_name(path): path for path in python_files(PACKAGE)}
FILES = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}


@functools.cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def num_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Absolute dotted names of all that a file imports, wherever it does so."""
    names = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def internal(name: str) -> str | None:
    """The module of optaxls that an imported name lies in; the package is ''."""
    first, *rest = name.split(".")
    if first != "optaxls":
        return None
    while rest and ".".join(rest) not in MODULES:
        rest.pop()
    return ".".join(rest)


def imported_modules(path: Path) -> set[str]:
    """The modules of optaxls that a file imports."""
    return {target for name in imported(path) if (target := internal(name)) is not None}


def defined(path: Path) -> dict[str, ast.stmt]:
    """Names that a file itself binds at its top level, imports left out."""
    names: dict[str, ast.stmt] = {}
    for node in syntax(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        names[part.id] = node
    return names


def is_named_tuple(node: ast.stmt) -> bool:
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return any(ast.unparse(base).endswith("NamedTuple") for base in bases)


def is_private(module: str) -> bool:
    """A file or folder on the way to it begins with an underscore."""
    return any(part.startswith("_") for part in module.split("."))


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Lines of a function that hold code: no docstring, comment or blank line."""
    skipped = set()
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        skipped = set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = [
        source[number - 1].strip()
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
        if number not in skipped
    ]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file, inner ones too, and its number of code lines."""
    source = path.read_text().splitlines()
    for node in ast.walk(syntax(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, code_lines(node, source)
