"""A row of the contract's table: an optimizer, and what its ``update`` asks for."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

SEARCHED = ("value", "grad", "value_fn")


class Case(NamedTuple):
    """An optimizer, what its ``update`` asks for, whether momentum goes on after it."""

    make: Callable[[], optax.GradientTransformationExtraArgs]
    uses: tuple[str, ...]
    factory: Callable[..., Any]
    goes_on: bool = False

    @property
    def searches(self) -> bool:
        return "value" in self.uses and bool({"value_fn", "grad_fn"} & {*self.uses})


def case(factory, uses, goes_on=False, /, **arguments) -> Case:
    make = functools.partial(factory, **arguments)
    return Case(make, uses, factory, goes_on)
