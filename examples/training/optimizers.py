"""From a name on the command line to an optax transformation."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import optax

import optaxls
from examples.common.budget import GRADIENT_COST
from examples.common.errors import UsageError

# A trial of a line search is one forward pass, unless it compares gradients.
_TRIAL_COST = {"sls_extragradient": GRADIENT_COST}

# Rules that need nothing, rules whose first trial grows by a factor for each epoch,
# and optimizers that must be told a step size (with the one they get by default).
_RULES = {
    "auto": optaxls.auto,
    "ponos": optaxls.ponos,
    "sps": optaxls.sps,
    "sls_momentum": optaxls.sls_momentum,
    "adam_sps": optaxls.adam_sps,
    "adam_ponos": optaxls.adam_ponos,
    "salsa": optaxls.salsa,
}
_RULES_PER_EPOCH = {
    "sls": optaxls.sls,
    "sls_goldstein": optaxls.sls_goldstein,
    "sls_extragradient": optaxls.sls_extragradient,
    "adam_sls": optaxls.adam_sls,
}
_FIXED_STEP = {
    "sgd": (optax.sgd, 0.1),
    "adam": (optax.adam, 1e-3),
    "adamw": (optax.adamw, 1e-3),
    "sign_descent": (optaxls.sign_descent, 1e-3),
}


class Recipe(NamedTuple):
    """A named optimizer, ready to train.

    Attributes:
        name: as on the command line.
        transformation: the optimizer itself.
        learning_rate: the step size it was told, NaN if it finds its own.
        trial_cost: forward passes that a trial of its search takes.
    """

    name: str
    transformation: optax.GradientTransformation
    learning_rate: float = math.nan
    trial_cost: int = 1


def names() -> list[str]:
    """Every name that `make` knows."""
    return [*_RULES, *_RULES_PER_EPOCH, *_FIXED_STEP]


def with_learning_rate() -> list[str]:
    """The names of those that must be told a step size."""
    return list(_FIXED_STEP)


def check_names(chosen: Sequence[str], learning_rate: float | None) -> None:
    """Refuses unknown names, and a learning rate that nobody would use."""
    for name in chosen:
        if name not in names():
            raise UsageError(
                f"unknown optimizer {name!r}; choose from {', '.join(names())}"
            )
    takers = with_learning_rate()
    if learning_rate is not None and not set(takers) & set(chosen):
        raise UsageError(
            f"--learning-rate is of no use to {', '.join(chosen)};"
            f" only {', '.join(takers)} take one"
        )


def make(name: str, learning_rate: float | None, steps_per_epoch: int) -> Recipe:
    """Builds the optimizer called `name`.

    Args:
        name: one of `names()`.
        learning_rate: for those that take one; None for their default.
        steps_per_epoch: for those whose first trial grows by a factor per epoch.
    """
    if name in _RULES:
        return Recipe(name, _RULES[name]())
    if name in _RULES_PER_EPOCH:
        transformation = _RULES_PER_EPOCH[name](steps_per_epoch=steps_per_epoch)
        return Recipe(name, transformation, trial_cost=_TRIAL_COST.get(name, 1))
    factory, default = _FIXED_STEP[name]
    rate = default if learning_rate is None else learning_rate
    return Recipe(name, factory(rate), rate)
