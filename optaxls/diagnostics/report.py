"""What the doctor found, what it means, and what to take."""

import textwrap
from typing import Any, NamedTuple

from optaxls.diagnostics.gradient_sample import GradientSample
from optaxls.diagnostics.growth import StrongGrowth
from optaxls.diagnostics.ray import Ray

_WIDTH = 88


class Finding(NamedTuple):
    """A measured number and what it means.

    Attributes:
      name: such as ``"noise floor"``.
      value, low, high: the number and its interval.
      interval: what that is: ``"95 %"`` or ``"range"`` (of the trajectory).
      unit: of all three.
      meaning: two sentences.
    """

    name: str
    value: float
    low: float
    high: float
    interval: str
    unit: str
    meaning: str


class PilotResult(NamedTuple):
    """How one optimizer did in the short run: loss at the end, trials a step."""

    loss: float
    num_trials: float


class Recommendation(NamedTuple):
    """What to take.

    Attributes:
      optimizer: an expression over ``optaxls``, such as ``"auto()"``.
      regime: ``"interpolation"``, ``"noise"`` or ``"undecided"``.
      batch: what to do about the batch size and the end of training, a sentence.
      direction: whether an Adam-like direction is needed, and why, a sentence.
      evidence: sentences with the numbers that decided.
      confidence: ``"sure"`` (it led clearly, or fitted everything), ``"likely"``, or
        ``"a guess"`` (others were near while the loss was still falling fast).
    """

    optimizer: str
    regime: str
    batch: str
    direction: str
    evidence: tuple[str, ...]
    confidence: str


class Curves(NamedTuple):
    """What the figure draws.

    Attributes:
      steps: of the points of the trajectory.
      samples: gradients there, a leading axis of points.
      growth: the fit to them.
      group_losses: loss by frequency group, ``(points, groups)``; None without labels.
      ray: the loss along the negative gradient, of the last batch and of all measured
        examples, at the end.
    """

    steps: tuple[int, ...]
    samples: GradientSample
    growth: StrongGrowth
    group_losses: Any
    ray: tuple[Ray, Ray]


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
