"""What the doctor found, what it means, and what to take."""

import textwrap
from typing import Any, NamedTuple

from optaxls.diagnostics.records import Curves, Finding, PilotResult, Recommendation

_WIDTH = 88


class Report(NamedTuple):
    """A diagnosis: ``str`` for a terminal, ``plot`` for a figure.

    Attributes:
      findings: by name.
      pilots: the optimizers tried, by expression, the best first.
      recommendation: what to take.
      curves: what ``plot`` draws.
    """

    findings: dict[str, Finding]
    pilots: dict[str, PilotResult]
    recommendation: Recommendation
    curves: Curves

    def __str__(self) -> str:
        """Numbers with units and intervals, their meaning, and the recommendation."""
        lines = []
        for finding in self.findings.values():
            spread = f"{finding.low:.3g} to {finding.high:.3g}, {finding.interval}"
            unit = f" {finding.unit}" if finding.unit else ""
            lines.append(f"{finding.name}: {finding.value:.3g}{unit} ({spread})")
            lines += _wrapped(finding.meaning)
        lines += ["", "short runs, all on the same batches: loss, trials a step"]
        for name, result in self.pilots.items():
            lines.append(f"    {name:34} {result.loss:10.3g} {result.num_trials:8.2f}")
        advice = self.recommendation
        lines += ["", f"take: optaxls.{advice.optimizer} ({advice.confidence})"]
        for sentence in (*advice.evidence, advice.batch, advice.direction):
            lines += _wrapped(sentence)
        return "\n".join(lines)

    def plot(self) -> Any:
        """Draws the diagnosis; needs matplotlib.

        A notebook shows it once ``%matplotlib inline`` or an import of
        ``matplotlib.pyplot`` has taken effect.

        Returns:
          A ``matplotlib.figure.Figure`` of four panels.
        """
        from optaxls.diagnostics.figure import draw

        return draw(self.curves, self.pilots)


def _wrapped(sentence: str) -> list[str]:
    """Lines of at most 88 characters, indented."""
    indent = "    "
    return textwrap.wrap(
        sentence, _WIDTH, initial_indent=indent, subsequent_indent=indent
    )
