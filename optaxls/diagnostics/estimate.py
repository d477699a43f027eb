"""The type of every measured number: a value with its 95 % interval."""

from typing import NamedTuple

import jax


class Estimate(NamedTuple):
    """A measured number and its 95 % interval.

    Attributes:
      value: the number, ``()`` or an array of numbers.
      low: lower end of the interval, same shape.
      high: upper end of the interval, same shape.
    """

    value: jax.Array
    low: jax.Array
    high: jax.Array
