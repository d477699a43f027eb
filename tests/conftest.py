"""For all tests: CPU only, and the count of the golden configurations at the end."""

import os
from collections import Counter

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def pytest_terminal_summary(terminalreporter):
    """Says how many goldens matched; here, where the xdist controller finds it."""
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
