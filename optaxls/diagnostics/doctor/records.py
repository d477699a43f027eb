"""The types that a report consists of. ``_findings`` and ``_advice`` fill them."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A measured number and what it means.

    Attributes:
      name: such as ``"noise floor"``.
      value: the number.
      low: lower end of its interval.
      high: upper end of its interval.
      interval: kind of the interval: ``"95 %"``, ``"range"`` (least and largest value
        along the run) or ``"exact"``.
      unit: unit of the three numbers.
      meaning: two sentences or more.
    """

    name: str
    value: float
    low: float
    high: float
    interval: str
    unit: str
    meaning: str


class PilotResult(NamedTuple):
    """How a short run of one optimizer ended.

    Attributes:
      loss: mean loss of the measured examples at the end.
      num_trials: forward passes of its line search, mean over the steps.
    """

    loss: float
    num_trials: float


class Recommendation(NamedTuple):
    """Which optimizer to take, and why.

    Attributes:
      optimizer: an expression over ``optaxls``, such as ``"auto()"``.
      regime: ``"interpolation"``, ``"noise"`` or ``"undecided"``.
      batch: what to do about the batch size and the end of training, in sentences.
      direction: whether an Adam-like direction is needed, and why, in sentences.
      evidence: sentences with the numbers that decided.
      confidence: ``"sure"`` (it led clearly, or fitted everything), ``"likely"``
        (others were near, or the loss still fell fast) or ``"a guess"`` (both).
    """

    optimizer: str
    regime: str
    batch: str
    direction: str
    evidence: tuple[str, ...]
    confidence: str
