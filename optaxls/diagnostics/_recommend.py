"""From findings and short runs to what to take."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optaxls.diagnostics.records import Finding, Recommendation

# Losses below this share of the first one are all the same: gone.
_GONE = 1e-6
# A simpler rule is taken if it ends at most this much above the best one.
_AS_GOOD = 1.2
# By so much the best one leads where another run would hardly turn it round.
_CLEAR_LEAD = 1.5
# The direction matters if the gradient ends at so many times Adam's loss, and rare
# classes are the reason if their half holds so much of the gap.
_MATTERS = 1.1
_MOSTLY = 0.6


class Tried(NamedTuple):
    """How a candidate's short run ended: excess over the lower bound, and by group."""

    excess: float
    group_losses: Any


class Pair(NamedTuple):
    """The candidates whose losses on rare classes are compared."""

    plain: str
    adam: str


def _choice(
    tried: Mapping[str, Tried], first: float, open_end: bool
) -> tuple[str, str, str]:
    """The candidate, how sure, and the sentence that says why; simplest come first."""
    ranked = sorted(tried, key=lambda name: order(tried[name].excess))
    best = order(tried[ranked[0]].excess)
    if best == math.inf:
        return ranked[0], "a guess", "In short runs every rule ended without a loss."
    limit = max(_AS_GOOD * best, _GONE * first)
    chosen = next(name for name in tried if tried[name].excess <= limit)
    others = [name for name in ranked if name != chosen]
    rival = others[0] if others else chosen
    gone = tried[chosen].excess <= _GONE * first
    if gone or order(tried[rival].excess) >= _CLEAR_LEAD * tried[chosen].excess:
        confidence = "likely" if open_end and not gone else "sure"
    else:
        confidence = "a guess" if open_end else "likely"
    why = (
        f"In short runs on the same batches {chosen} ended at"
        f" {tried[chosen].excess:.3g} above the lower bound, {rival} at"
        f" {tried[rival].excess:.3g}."
    )
    if gone:
        why += " Losses below a millionth of the first one are taken as equal."
    return chosen, confidence, why


def order(loss: float) -> float:
    """Where a loss ranks: one that is not finite comes last."""
    return loss if math.isfinite(loss) else math.inf


def _batch(regime: str, critical: Finding) -> str:
    """What to do about noise."""
    if regime == "interpolation":
        return (
            "Batch: keep its size and let no schedule shrink the step; the noise of the"
            " gradient vanishes with the loss."
        )
    if regime == "noise":
        return (
            "Batch: let the step fall, as auto() does by itself, or double the batch"
            " whenever the loss stalls; at its median along the run the critical batch"
            f" is {critical.value:.3g} examples."
        )
    return (
        "Batch: keep its size while the loss falls; if it stalls, let the step fall or"
        " the batch grow."
    )


def _direction(heavy: bool, regime: str, tried: Mapping[str, Tried], pair: Pair) -> str:
    """Whether Adam's direction is needed, and whether rare classes are the reason."""
    if not set(pair) <= set(tried):
        return f"Direction: without a run of {pair.plain} nothing is known of it."
    plain, adam = tried[pair.plain].excess, tried[pair.adam].excess
    told = (
        f"the same rule along the gradient, {pair.plain}, ended at {plain:.3g}, along"
        f" Adam's direction at {adam:.3g}"
    )
    if not order(plain) > _MATTERS * order(adam):
        hidden = ", though noise may hide what it does" if regime == "noise" else ""
        return f"Direction: Adam's is not needed here{hidden}; {told}."
    if not math.isfinite(plain) and math.isfinite(adam):
        return f"Direction: Adam's; {told}."
    groups = [tried[name].group_losses for name in pair]
    if groups[0] is None:
        return f"Direction: Adam's, whatever the reason (no labels given); {told}."
    gaps = [float(g) for g in groups[0] - groups[1]]
    counted = [max(gap, 0) if math.isfinite(gap) else 0 for gap in gaps]
    rare = sum(counted[len(counted) // 2 :]) / max(sum(counted), 1e-300)
    share = f"{100 * rare:.0f} % of the gap lies in the rarer half of the examples"
    if heavy and rare > _MOSTLY:
        reason = "since labels are heavy-tailed and the gradient learns rare classes"
        return f"Direction: Adam's, {reason} slowly: {told}; {share}."
    return f"Direction: Adam's, but not for rare classes: {told}; {share}."


def recommend(
    findings: Mapping[str, Finding],
    tried: Mapping[str, Tried],
    pair: Pair,
    losses: Sequence[float],
    regime: str,
    heavy: bool,
) -> Recommendation:
    """Joins the short runs with the findings.

    Args:
      findings: by name.
      tried: candidates, the one to take among equals first.
      pair: two of them, along the gradient and along Adam's direction.
      losses: above the lower bound, at the points of the measured run.
      regime: of noise.
      heavy: whether rare classes hold a good part of the examples.
    """
    distance = findings["distance from interpolation"]
    # Where the loss still falls fast, another rule may overtake.
    open_end = regime == "undecided" or losses[-1] < 0.5 * losses[-2]
    chosen, confidence, why = _choice(tried, losses[0], open_end)
    fitted = (
        f"The measured run ended at {distance.value:.2g} of its first loss (95 %:"
        f" {distance.low:.2g} to {distance.high:.2g})."
    )
    return Recommendation(
        chosen,
        regime,
        _batch(regime, findings["critical batch"]),
        _direction(heavy, regime, tried, pair),
        (why, fitted),
        confidence,
    )
