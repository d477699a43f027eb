"""For all tests: CPU only; one worker for what shares a program; the last lines."""

import os
import pathlib
from collections import Counter, defaultdict

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiled once for all workers, programs of their own, and later runs.
_PROGRAMS = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "programs"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The longest files, begun first so that no worker waits for another at the end.
LONG = (
    "tests/examples/training/test_resume.py",
    "tests/examples/training/test_loop.py",
    "tests/diagnostics/",
    "tests/test_readme.py",
    "tests/examples/",
    "tests/optimizers/test_auto.py",
    "tests/interop/test_interop.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """``pytest -n 2`` hands out groups of tests, in the order given below."""
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False


def leave_cases_to_long(items):
    """``slow(one_in=n)``: all cases but each n-th become long."""
    seen = defaultdict(int)
    for item in items:
        marks = item.iter_markers("slow")
        sizes = [mark.kwargs["one_in"] for mark in marks if "one_in" in mark.kwargs]
        function = item.nodeid.split("[")[0]
        if sizes and seen[function] % sizes[0] and not item.get_closest_marker("long"):
            item.add_marker(pytest.mark.long)
        seen[function] += 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The group of a test: its own, else that of its optimizer, else its file."""
    leave_cases_to_long(items)
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            given = getattr(item, "callspec", None)
            name = given.params.get("name") if given is not None else None
            group = name if isinstance(name, str) else item.nodeid.split("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))

    def turn(item):
        """Where a long file is in the list, else behind it."""
        begins = [item.nodeid.startswith(long) for long in LONG]
        return begins.index(True) if any(begins) else len(LONG)

    items.sort(key=turn)


def pytest_terminal_summary(terminalreporter):
    """Goldens matched, the doctor's rows; here, where the xdist controller finds it."""
    properties = [
        pair
        for report in terminalreporter.stats.get("passed", [])
        for pair in getattr(report, "user_properties", [])
    ]
    for key, title in (("golden", "full set"), ("golden_extract", "extract")):
        verdicts = Counter(value for name, value in properties if name == key)
        if verdicts:
            numbers = ", ".join(f"{n} {kind}" for kind, n in sorted(verdicts.items()))
            terminalreporter.write_line(f"goldens, {title}: {numbers}")
    told = {"doctor": "doctor", "shares": "lines of library : tests : examples"}
    rows = [f"{told[name]}: {value}" for name, value in properties if name in told]
    for row in sorted(rows):
        terminalreporter.write_line(row)
