"""What a report is made of: findings, short runs, advice, and what the figure draws."""

from typing import Any, NamedTuple

from optaxls.diagnostics.gradient_sample import GradientSample
from optaxls.diagnostics.growth import StrongGrowth
from optaxls.diagnostics.ray import Ray


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
      confidence: ``"sure"`` (it led clearly, or fitted everything), ``"likely"``
        (others were near, or the loss was still falling fast), ``"a guess"`` (both).
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
