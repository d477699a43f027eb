"""Rows of the contract for finite sums: one function of three is seen again and again.

So the mean of what was seen is the gradient itself, and the rows descend like the rest.
"""

from typing import Any

import optax

import optaxls
from tests.cases import SEARCHED, Case, case

NUM_FUNCTIONS = 3


def at_one_function(
    optimizer: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Adds what the loops of the contract do not pass."""

    def update(updates: Any, state: Any, params: Any = None, **given: Any) -> Any:
        sum_of_one = {"index": 0, "snapshot_grad": given.get("grad")}
        return optimizer.update(updates, state, params, **sum_of_one, **given)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def sag(
    *, initial_lipschitz: float = 1.0, l2: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    return at_one_function(
        optaxls.sag(
            num_functions=NUM_FUNCTIONS, initial_lipschitz=initial_lipschitz, l2=l2
        )
    )


def svrg(*, initial_lipschitz: float = 1.0) -> optax.GradientTransformationExtraArgs:
    return at_one_function(
        optaxls.svrg(
            num_functions=NUM_FUNCTIONS,
            initial_lipschitz=initial_lipschitz,
            steps_per_snapshot=2,
        )
    )


ROWS: dict[str, Case] = {
    "sag": case(sag, SEARCHED, initial_lipschitz=1.0),
    "svrg": case(svrg, (*SEARCHED, "grad_fn"), initial_lipschitz=1.0),
}
