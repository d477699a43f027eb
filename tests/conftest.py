"""For all tests: CPU only; at the end goldens, doctor's table, shares of lines."""

import os
from collections import Counter

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def pytest_terminal_summary(terminalreporter):
    """Goldens matched, the doctor's rows; here, where the xdist controller finds it."""
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
    told = {"doctor": "doctor", "shares": "lines of library : tests : examples"}
    rows = [
        f"{told[name]}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name in told
    ]
    for row in sorted(rows):
        terminalreporter.write_line(row)
