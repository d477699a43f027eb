"""Names the optimizers that are tried, and recommends one of them."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optax

from optaxls.diagnostics.doctor.records import Finding, Recommendation
from optaxls.optimizers.auto import auto
from optaxls.optimizers.ponos import adam_ponos, ponos
from optaxls.optimizers.salsa import salsa
from optaxls.optimizers.sls import sls

# Names are expressions over ``optaxls``, so that a recommendation can be pasted.
MEASURED = "auto()"
# The same optimizer, so that the two differ in their direction only.
ALONG_GRADIENT = "auto(optax.identity())"
# Losses below this share of the first one count as equal.
_GONE = 1e-6
# A simpler optimizer is taken if its loss is at most this many times the least one.
_AS_GOOD = 1.2
# Another run would hardly reverse a lead by this factor.
_CLEAR_LEAD = 1.5
# The direction matters if the loss along the gradient is this many times Adam's.
_MATTERS = 1.1
# Rare classes are the reason if they have more than this share of the difference.
_MOSTLY = 0.6


class Tried(NamedTuple):
    """How a short run ended: mean loss above the lower bound, and loss by group."""

    excess: float
    group_losses: Any


@functools.cache  # jit finds a compiled program by the identity of the optimizer
def measured_optimizer() -> optax.GradientTransformation:
    """The optimizer of the measured run, of the name ``MEASURED``."""
    return auto()


def _exact(number: float) -> str:
    """The shortest text that evaluates to the number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))


@functools.cache  # as above
def candidates(steps_per_epoch: float, lower_bound: float) -> dict[str, Any]:
    """The optimizers to try beside ``MEASURED``, by name, the simplest first."""
    bound = f"lower_bound={_exact(lower_bound)}" if lower_bound else ""
    joint = ", " if bound else ""
    return {
        f"sls(steps_per_epoch={_exact(steps_per_epoch)})": sls(
            steps_per_epoch=steps_per_epoch
        ),
        f"ponos(max_step_size=1e3{joint}{bound})": ponos(
            max_step_size=1e3, lower_bound=lower_bound
        ),
        f"adam_ponos({bound})": adam_ponos(lower_bound=lower_bound),
        "salsa()": salsa(),
        ALONG_GRADIENT: auto(optax.identity()),
    }


def _choice(
    tried: Mapping[str, Tried], first: float, open_end: bool
) -> tuple[str, str, str]:
    """Chooses one of ``tried``: its name, the confidence, and a sentence that says why.

    ``first`` is the loss at the start. ``open_end`` says that the loss still falls.
    """
    ranked = sorted(tried, key=lambda name: order(tried[name].excess))
    best = order(tried[ranked[0]].excess)
    if best == math.inf:
        why = "In short runs no optimizer ended with a finite loss."
        return ranked[0], "a guess", why
    limit = max(_AS_GOOD * best, _GONE * first)
    # ``tried`` has the simplest optimizer first.
    chosen = next(name for name in tried if tried[name].excess <= limit)
    # The lead is over the best of the others, be it simpler or not.
    others = [name for name in ranked if name != chosen]
    rival = others[0] if others else chosen
    gone = tried[chosen].excess <= _GONE * first
    # NaN of a rival counts as infinite, hence as a clear lead.
    if gone or order(tried[rival].excess) >= _CLEAR_LEAD * tried[chosen].excess:
        confidence = "likely" if open_end and not gone else "sure"
    else:
        confidence = "a guess" if open_end else "likely"
    against = f", {rival} at {tried[rival].excess:.3g}" if others else ""
    why = (
        f"In short runs on the same batches {chosen} ended at"
        f" {tried[chosen].excess:.3g} above the lower bound{against}."
    )
    if gone:
        why += " Losses below a millionth of the first one count as equal."
    return chosen, confidence, why


def order(loss: float) -> float:
    """The loss as a sort key: one that is not finite comes last."""
    return loss if math.isfinite(loss) else math.inf


def _batch(regime: str, critical: Finding) -> str:
    """The sentence on the batch size and the end of training."""
    if regime == "interpolation":
        return (
            "Batch: keep its size and use no schedule that shrinks the step; the noise"
            " of the gradient vanishes with the loss."
        )
    if regime == "noise":
        return (
            "Batch: average the params, as auto() does by itself, or let the step fall,"
            " or double the batch whenever the loss stalls. The critical batch is"
            f" {critical.value:.3g} examples, a median over the run."
        )
    return (
        "Batch: keep its size while the loss falls. If the loss stalls, let the step"
        " fall or the batch grow."
    )


def _direction(heavy: bool, regime: str, tried: Mapping[str, Tried]) -> str:
    """Whether Adam's direction is needed, and whether rare classes are the reason."""
    pair = (ALONG_GRADIENT, MEASURED)
    if not set(pair) <= set(tried):
        return f"Direction: without a run of {ALONG_GRADIENT} nothing is known of it."
    plain, adam = (tried[name].excess for name in pair)
    numbers = (
        f"Along the gradient, {ALONG_GRADIENT} ended at {plain:.3g}, along Adam's"
        f" direction at {adam:.3g}."
    )
    # Not "plain <= ...": a NaN must not count as good.
    if not order(plain) > _MATTERS * order(adam):
        hidden = ", though noise may hide its effect" if regime == "noise" else ""
        return f"Direction: Adam's is not needed here{hidden}. {numbers}"
    if not math.isfinite(plain) and math.isfinite(adam):
        return f"Direction: Adam's. {numbers}"
    # Groups come most frequent first, so that the rarer half is the second one.
    groups = [tried[name].group_losses for name in pair]
    if groups[0] is None:
        return f"Direction: Adam's; no labels tell the reason. {numbers}"
    gaps = [float(gap) for gap in groups[0] - groups[1]]
    # A group where the gradient is ahead must not cancel one where Adam is.
    ahead = [max(gap, 0) if math.isfinite(gap) else 0 for gap in gaps]
    rare = sum(ahead[len(ahead) // 2 :]) / max(sum(ahead), 1e-300)
    numbers += (
        f" {100 * rare:.0f} % of the difference lies in the rarer half of the examples."
    )
    if heavy and rare > _MOSTLY:
        reason = "labels are heavy-tailed, and the gradient learns rare classes slowly"
        return f"Direction: Adam's, because {reason}. {numbers}"
    return f"Direction: Adam's, but not because of rare classes. {numbers}"


def recommend(
    findings: Mapping[str, Finding],
    tried: Mapping[str, Tried],
    losses: Sequence[float],
    regime: str,
    heavy: bool,
) -> Recommendation:
    """Makes the recommendation from the short runs and the findings.

    Args:
      findings: measured numbers, by name.
      tried: how the short runs ended, by name, the simplest optimizer first.
      losses: mean losses above the lower bound, at the points of the measured run.
      regime: ``"interpolation"``, ``"noise"`` or ``"undecided"``.
      heavy: whether rare classes hold a large part of the examples.
    """
    distance = findings["distance from interpolation"]
    # While the loss still falls fast, another optimizer may overtake.
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
        _direction(heavy, regime, tried),
        (why, fitted),
        confidence,
    )
