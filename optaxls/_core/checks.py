"""Argument checks with errors that name the argument, its value and what is allowed.

Only concrete Python and NumPy numbers are checked: ``optax.inject_hyperparams`` passes
arrays and tracers, whose values are not known at construction.
"""

import numbers
from collections.abc import Iterable
from typing import Any


def require(name: str, value: Any, interval: str) -> None:
    """Raises ValueError unless ``value`` lies in ``interval``, such as ``"(0, 1]"``."""
    if isinstance(value, bool):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    if not isinstance(value, numbers.Real):
        if isinstance(value, (str, bytes)) or value is None:
            raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
        return
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    number = float(value)
    above = number > low or (interval[0] == "[" and number == low)
    below = number < high or (interval[-1] == "]" and number == high)
    if not (above and below):
        raise ValueError(f"{name} must lie in {interval}, got {value!r}")


def require_integer(name: str, value: Any, minimum: int) -> None:
    """Raises ValueError unless ``value`` is an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        if isinstance(value, (bool, str, numbers.Real)) or value is None:
            raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
        return
    if int(value) < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")


def require_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises ValueError unless ``value`` is one of ``choices``."""
    allowed = tuple(choices)
    if value not in allowed:
        options = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")


def require_part(name: str, value: Any, kind: type, example: str) -> None:
    """Raises TypeError unless ``value`` is a part of ``kind``; ``example`` is one."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__} such as optaxls.{example}, got {value!r}"
        )


def require_function(name: str, value: Any, example: str) -> None:
    """Raises TypeError unless ``value`` is a function, which no part is."""
    if not callable(value) or isinstance(value, tuple):
        raise TypeError(
            f"{name} must be a function such as optaxls.{example}, got {value!r}"
        )
