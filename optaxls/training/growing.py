"""Batches that grow, and the damping of Newton's method that falls with them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from optaxls._core import checks


class GrowingBatches(NamedTuple):
    """How many examples a step takes, and the damping that goes with them.

    ``batch_size`` maps the number of a step, a Python integer from 0 on, to an integer.
    ``damping`` is an optax schedule.

    Example:
      >>> import optaxls
      >>> batches = optaxls.growing_batches(10, 2.0, dataset_size=35, damping=0.4)
      >>> [batches.batch_size(k) for k in range(4)]
      [10, 20, 35, 35]
    """

    batch_size: Callable[[int], int]
    damping: optax.Schedule


def growing_batches(
    batch_size: int, growth: float = 1.5, *, dataset_size: int, damping: float = 1e-3
) -> GrowingBatches:
    r"""Batch sizes that grow by a factor, and a damping that falls as 1/sqrt(size).

    At step :math:`k = 0, 1, \dots` the batch has
    :math:`b_k = \min(\lfloor b_0 f^k \rfloor, n)` examples, and the damping is
    :math:`\tau_k = \tau_0 \sqrt{b_0 / b_k}`. Where a model can fit all examples, Newton
    steps on batches of one size converge linearly, and faster than that on such ones.

    Args:
      batch_size: b_0, examples in the first batch, >= 1.
      growth: f, in [1, inf), for each step. A factor for each epoch is, with N steps in
        one, ``factor ** (1 / N)``.
      dataset_size: n, all examples, >= 1.
      damping: tau_0, in [0, inf); units of the loss over params squared.

    Returns:
      ``GrowingBatches``: ``batch_size``, from the number of a step to an integer, and
      ``damping``, a schedule for ``newton`` and ``hessian_free``. A step that is jitted
      compiles once for each size. To compile once, take all rows and weight those
      beyond the size by 0.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      None beside that of the larger batches.

    Example:
      >>> import optaxls
      >>> batches = optaxls.growing_batches(8, 2.0, dataset_size=64, damping=1.0)
      >>> optimizer = optaxls.newton(damping=batches.damping)
      >>> for k in range(4):      # the batch of step k is rows[:batches.batch_size(k)]
      ...     print(batches.batch_size(k), f"{batches.damping(k):.2f}")
      8 1.00
      16 0.71
      32 0.50
      64 0.35

    Reference:
      Meng et al. 2020, arXiv:1910.04920, Theorem 1 for the growth; that the damping
      falls with the square root of the size is a choice of its code.
    """
    checks.require_integer("batch_size", batch_size, 1)
    checks.require("growth", growth, "[1, inf)")
    checks.require_integer("dataset_size", dataset_size, 1)
    checks.require("damping", damping, "[0, inf)")

    most = math.log(dataset_size / batch_size)

    def size(step: int) -> int:
        # Compared as logarithms: the power itself overflows after some thousand steps.
        if step * math.log(growth) >= most:
            return dataset_size
        return int(batch_size * growth**step)

    def schedule(count: Any) -> Any:
        grown = jnp.minimum(count * math.log(growth), most)
        return damping * jnp.exp(-grown / 2)

    return GrowingBatches(size, schedule)
