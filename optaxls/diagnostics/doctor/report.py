"""A diagnosis as text and as a figure."""

import textwrap
from typing import Any, NamedTuple

from optaxls.diagnostics.doctor._curves import Curves
from optaxls.diagnostics.doctor.records import Finding, PilotResult, Recommendation

_WIDTH = 88


class Report(NamedTuple):
    """A diagnosis: ``print`` shows it as text, ``plot`` as a figure.

    Attributes:
      findings: measured numbers, by name.
      pilots: results of the optimizers that were tried, by expression, best first.
      recommendation: which optimizer to take.
      curves: the series that ``plot`` draws.
    """

    findings: dict[str, Finding]
    pilots: dict[str, PilotResult]
    recommendation: Recommendation
    curves: Curves

    def __str__(self) -> str:
        """Lists numbers with units, intervals and meaning, then the recommendation."""
        lines = []
        for finding in self.findings.values():
            spread = f"{finding.low:.3g} to {finding.high:.3g}, {finding.interval}"
            unit = f" {finding.unit}" if finding.unit else ""
            lines.append(f"{finding.name}: {finding.value:.3g}{unit} ({spread})")
            lines += _wrapped(finding.meaning)
        lines += ["", "short runs, all on the same batches: loss, trials a step"]
        # Columns wide enough for the names of the default candidates.
        for name, result in self.pilots.items():
            lines.append(f"    {name:34} {result.loss:10.3g} {result.num_trials:8.2f}")
        advice = self.recommendation
        lines += ["", f"take: optaxls.{advice.optimizer} ({advice.confidence})"]
        for sentence in (*advice.evidence, advice.batch, advice.direction):
            lines += _wrapped(sentence)
        return "\n".join(lines)

    def plot(self) -> Any:
        """Draws the diagnosis; needs matplotlib.

        A notebook shows the figure after ``%matplotlib inline``, or after an import of
        ``matplotlib.pyplot``.

        Returns:
          A ``matplotlib.figure.Figure`` of four panels.
        """
        # Inside, because matplotlib is not a dependency of the library.
        from optaxls.diagnostics.doctor._figure import draw

        return draw(self.curves, self.pilots)


def _wrapped(sentence: str) -> list[str]:
    """Breaks a sentence into indented lines of at most 88 characters."""
    indent = "    "
    return textwrap.wrap(
        sentence, _WIDTH, initial_indent=indent, subsequent_indent=indent
    )
