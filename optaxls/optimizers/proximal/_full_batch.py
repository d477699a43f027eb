"""What the searches of methods for full batches share."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.interpolating import interpolating
from optaxls.parts.types import Condition, Path
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions


def searched_from_one(
    pair: DirectionPair, condition: Condition, path: Path, max_trials: int, name: str
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that tries the step size 1 first, with the gradient of each trial.

    The next step begins with that gradient, so that most steps cost one evaluation.
    """
    rule = scale_by_line_search(
        condition._replace(needs_slope=True),
        constant(1.0),
        interpolating(max_trials),
        path=path,
        fallback_step=0.0,
        name=name,
    )
    optimizer = two_directions(pair, rule, name=name)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name=name, needs=needs)
