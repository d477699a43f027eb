"""The one table of configurations where ours differs from the reference on purpose.

An entry says why, what ours does instead, from which step on, and checks it. Before
that step everything must match; with ``fields_only`` the iterates must match to the end
and only the evaluation counts and step sizes reported at the marked steps differ. An
entry whose configuration matches in full is stale and fails the test.
"""

import fnmatch
from collections.abc import Callable
from typing import NamedTuple

from tests.goldens import departure_checks as on
from tests.goldens.problems import Problem, Trajectory
from tests.goldens.replay import Replay


class Departure(NamedTuple):
    """``marks``: the steps at which the reference's defect acts, one bool per step.

    ``also_there``: the marked step itself still matches, only what follows differs.
    """

    names: tuple[str, ...]
    reason: str
    ours: str
    marks: Callable[[Trajectory, Replay], on.Marks]
    check: Callable[[Trajectory, Replay, Problem, on.Marks], bool]
    fields_only: bool = False
    also_there: bool = False


TABLE = (
    Departure(
        names=("P?/sls/accnesterov_*", "P6/corner/*_accnesterov*"),
        reason="SlsAcc's Nesterov loses its first step (tau = 1) and advances lambda "
        "every other step only",
        ours="Nesterov momentum with one weight, as optax.trace; checked against an "
        "oracle",
        marks=on.everywhere,
        check=on.is_textbook_nesterov,
    ),
    Departure(
        names=("P1/sls/accpolyak_*", "P6/corner/tiny_accpolyak"),
        reason="momentum on steps of maximal length makes the losses climb, "
        "to thousands and up to millions of times the first",
        ours="momentum rests until the losses have come down, and is half as strong "
        "after that",
        marks=on.momentum_rests,
        check=on.climbs_less,
    ),
    Departure(
        names=("P?/sls/armijo_cap_r1",),
        reason="after a failed search the step regrows by gamma^(1/N) per step from "
        "where that search stopped, though only one batch had refused it",
        ours="if the resumed search accepts its first trial, the step from before the "
        "failure is taken up again",
        marks=on.found_again,
        check=on.goes_back,
        also_there=True,
    ),
    Departure(
        names=(
            "P?/adasls/adam_sls_cap",
            "P3/adasls/adagrad_sls_lipschitz_r1_c0.1_i100",
            "P6/corner/tiny_fail_r1",
        ),
        reason="a failed search stores the fallback 1e-6, from which the step grows by "
        "gamma^(1/N) only",
        ours="resumes where the search stopped, as the published SLS",
        marks=on.failed,
        check=on.resumes,
        also_there=True,
    ),
    Departure(
        names=("P?/ponosprec/prec_r11_monotone_m2_0.9",),
        reason="a failed search falls back along the plain gradient, without the "
        "preconditioner, and stores 1e-6",
        ours="falls back along the searched direction, resumes where it stopped",
        marks=on.failed,
        check=on.resumes,
    ),
    Departure(
        names=(
            "P1/ponosprec/prec_r200_zhang_m2_0.9",
            "P3/ponosprec/prec_r200_zhang_m2_0.9",
            "P3/ponosprec/prec_r200_zhang_adamdecr_m2_0.9",
        ),
        reason="a failed search falls back along the plain gradient, without the "
        "preconditioner",
        ours="falls back along the searched direction",
        marks=on.failed,
        check=on.falls_back_along_direction,
    ),
    Departure(
        names=("P2/sls/goldstein_r0_c0.1", "P2/sls/goldstein_r2_c0.1"),
        reason="at its cap Goldstein's search tries the same point until 100 trials "
        "are spent",
        ours="a step at the cap is never too short: taken at once",
        marks=on.at_goldstein_cap,
        check=on.same_step_fewer_trials,
        fields_only=True,
    ),
    Departure(
        names=(
            "P2/sls/goldstein_r1_*",
            "P3/sls/goldstein_r1_*",
            "P6/corner/tiny_bounded_r2_init_above_max",
        ),
        reason="the bound does not hold for the first trial (Goldstein's reset; Armijo "
        "with resets 0 and 2), and Goldstein's cap is tried 100 times",
        ours="max_step_size bounds every trial, and a step there is never too short",
        marks=on.above_max,
        check=on.respects_max,
    ),
    Departure(
        names=(
            "P6/corner/tiny_armijo_r1",
            "P6/corner/tiny_goldstein_r1",
            "P6/corner/tiny_bounded_r1_max2",
            "P6/corner/tiny_adam_sls",
            "P6/corner/tiny_amsgrad_sls",
            "P6/corner/tiny_adagrad_sls",
            "P6/corner/tiny_rmsprop_sls",
            "P6/corner/tiny_salsa_*",
        ),
        reason="the stored step grows while the gradient is zero and nothing is tested",
        ours="a batch without a gradient leaves the step size as it was, 0 trials",
        marks=on.no_gradient,
        check=on.only_misses_growth,
        also_there=True,
    ),
    Departure(
        names=(
            "P6/corner/tiny_ponos",
            "P6/corner/tiny_fail_ponos",
            "P6/corner/tiny_fail_monotone",
            "P6/corner/tiny_fail_zhang_mode13",
            "P6/corner/tiny_zhang_*",
            "P6/corner/tiny_monotone_*",
            "P6/corner/tiny_prec_*",
            "P6/corner/tiny_SignSGD",
            "P6/corner/tiny_RescaledSign",
            "P6/corner/tiny_a*_sls",
            "P6/corner/tiny_rmsprop_sls",
            "P6/corner/tiny_fail_r1",
            "P6/corner/tiny_salsa_*",
        ),
        reason="with a zero gradient the loss is evaluated once for nothing, or a step "
        "size reported that moves nothing",
        ours="0 trials and step size 0 there",
        marks=on.no_gradient,
        check=on.takes_no_step,
        fields_only=True,
    ),
    Departure(
        names=(
            "P6/corner/tiny_smooth_frozen",
            "P6/corner/tiny_adam_sps_smooth",
            "P6/corner/tiny_polyak_smooth_nols",
        ),
        reason="a zero gradient stores the step size 0 (or the floor 1e-6): frozen for "
        "good, or doubled once an epoch from there",
        ours="the cap stays as it was before the batch without a gradient",
        marks=on.no_gradient,
        check=on.moves_on,
    ),
    Departure(
        names=("P6/corner/tiny_NormalizedSGD_nan",),
        reason="a zero gradient normalises to NaN",
        ours="no step for a direction that is not finite; the next batch goes on",
        marks=on.everywhere,
        check=on.stays_finite,
    ),
    Departure(
        names=("P2/ponosprec/prec_r200_monotone_m2_0",),
        reason="no step where ||g|| is below 1e-8, an absolute threshold",
        ours="no threshold: the step that the rule proposes, too short to be seen here",
        marks=on.tiny_gradient,
        check=on.goes_on,
        fields_only=True,
    ),
    Departure(
        names=(
            "P2/sps/ada_const_max10_c0.1",
            "P2/ponosprec/prec_r200_zhang_dirder_m2_0.9",
        ),
        reason="no step where ||g|| is below 1e-6 (1e-8), an absolute threshold",
        ours="no threshold: the step that the rule proposes",
        marks=on.tiny_gradient,
        check=on.goes_on,
    ),
    Departure(
        names=(
            "P1/ponosprec/prec_r200_zhang_m2_0.9",
            "P2/ponosprec/prec_r200_zhang_m2_0.9",
            "P?/ponosprec/prec_r200_zhang_dirder_m2_0.9",
            "P?/ponosprec/prec_r200_zhang_adamdecr_m2_0.9",
            "P1/ponosprec/prec_r200_zhang_ppdirder_m2_0.9",
            "P2/ponosprec/prec_r200_zhang_ppdirder_m2_0.9",
            "P?/ponosprec/prec_r11_monotone_m2_0.9",
            "P?/salsa/salsa_speed?_mv1*",
            "P6/corner/tiny_salsa_speed?_mv1",
        ),
        reason="searches along the momentum direction also where it climbs the batch's "
        "loss, backwards even where the Polyak step is negative",
        ours="no step and no trial uphill",
        marks=on.uphill,
        check=on.takes_no_step,
    ),
    Departure(
        names=(
            "P1/ponosprec/prec_r213_zhang_m2_0.9",
            "P2/ponosprec/prec_r213_zhang_m2_0.9",
        ),
        reason="a decrease measure that is not the slope refuses every step until the "
        "displacement is lost in rounding",
        ours="differences of the loss within rounding are forgiven some trials earlier",
        marks=on.below_rounding,
        check=on.stops_earlier,
    ),
    Departure(
        names=("P1/ponosprec/prec_r200_zhang_ppdirder_m2_0.9",),
        reason="a loss that exploded enters the mean whole and stays the reference",
        ours="it enters as ten times the mean: the test is stricter",
        marks=on.exploded,
        check=on.asks_for_more,
    ),
    Departure(
        names=("P2/ponosprec/prec_r2000_nols_m2_0.9",),
        reason="a step cut to less than a hundredth by one batch caps all later ones",
        ours="only if the next batch confirms it",
        marks=on.collapsed,
        check=on.moves_on_at_once,
        also_there=True,
    ),
)


def departures_of(name: str) -> list[Departure]:
    """The entries that speak of one configuration, such as "P6/corner/tiny_ponos"."""
    return [
        entry
        for entry in TABLE
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in entry.names)
    ]
