"""Prints how many configurations matched, after all tests, also under pytest-xdist."""

from collections import Counter


def pytest_terminal_summary(terminalreporter):
    for key, title in (("golden", "full set"), ("golden_extract", "extract")):
        verdicts = Counter(
            value
            for report in terminalreporter.stats.get("passed", [])
            for name, value in getattr(report, "user_properties", [])
            if name == key
        )
        if verdicts:
            numbers = ", ".join(f"{n} {kind}" for kind, n in sorted(verdicts.items()))
            terminalreporter.write_line(f"goldens, {title}: {numbers}")
