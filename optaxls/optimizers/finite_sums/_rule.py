"""The step size of the methods for finite sums: 1 / L, given or found by a search."""

from typing import Any

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions.finite_sums._visits import require_num_functions
from optaxls.directions.pairs import DirectionPair
from optaxls.optimizers.finite_sums._followed import followed
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.finite_sums._regularised import regularised
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions
from optaxls.transforms.untested import scale_by_initial_step


def require_numbers(num_functions: Any, lipschitz: Any, initial_lipschitz: Any) -> None:
    """Raises ValueError, naming the argument, if one lies outside its range."""
    require_num_functions(num_functions)
    checks.require("initial_lipschitz", initial_lipschitz, "(0, inf)")
    if lipschitz is not None:
        checks.require("lipschitz", lipschitz, "(0, inf)")


def with_step_size(
    name: str,
    pair: DirectionPair,
    num_functions: int,
    *,
    share: float,
    lipschitz: Any,
    initial_lipschitz: Any,
    l2: Any,
    prox: Any,
    needs: tuple[str, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """The pair under the step size ``share / lipschitz``, and what comes after it."""
    needed = ("params", "value", "grad", "index", *needs)
    if lipschitz is None:
        needed += ("value_fn",)
        first = followed(share / initial_lipschitz, 2.0, num_functions)
        # Of a search that failed nothing is known for the other functions of the sum.
        rule = scale_by_line_search(
            armijo(0.5), first, backtracking(0.5), fallback_step=0.0, name=name
        )
    else:
        rule = scale_by_initial_step(constant(share / lipschitz), name=name)
    optimizer = regularised(two_directions(pair, rule, name=name), l2, prox)
    return conjugated(optimizer, name=name, needs=needed)
