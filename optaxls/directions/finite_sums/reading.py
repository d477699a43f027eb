"""What a finite sum needs to know outside of a step: memory, and whether it is time."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.checks import require_integer
from optaxls.parts.types import Params


def table_bytes(params: Params, num_functions: int) -> int:
    """Returns the memory of the table that ``sag`` and ``saga`` keep, in bytes.

    Args:
      params: the params, or their shapes and dtypes (from ``jax.eval_shape``).
      num_functions: rows of the table, >= 1: examples, or fixed mini-batches.

    Returns:
      ``num_functions`` times the bytes of the floating-point and complex leaves. On
      several devices it is the sum over all of them.

    Raises:
      ValueError: ``num_functions`` is no integer >= 1.

    Cost:
      It computes nothing on the device.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.table_bytes({"w": jnp.zeros(31)}, num_functions=569)
      70556

    Reference:
      No publication; defined here.
    """
    require_integer("num_functions", num_functions, 1)
    leaves = [leaf for leaf in jax.tree.leaves(params) if trees.is_inexact(leaf)]
    sizes = [
        math.prod(jnp.shape(leaf)) * jnp.dtype(jnp.result_type(leaf)).itemsize
        for leaf in leaves
    ]
    return num_functions * sum(sizes)


def _takes_snapshots(node: Any) -> bool:
    return {"snapshot", "due"} <= set(getattr(node, "_fields", ()))


def snapshot_due(opt_state: Any) -> jax.Array:
    """Whether the next step of ``svrg`` or ``loopless_svrg`` takes a snapshot.

    Args:
      opt_state: the state of either, alone or inside a chain.

    Returns:
      A bool array, scalar. Where it is True, compute the gradient of the whole sum at
      the present params, and pass it as ``snapshot_grad``.

    Raises:
      ValueError: the state is of no optimizer that takes snapshots.

    Cost:
      It computes nothing and returns a reference.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.svrg(num_functions=10)
      >>> print(optaxls.snapshot_due(optimizer.init(jnp.zeros(3))))
      True

    Reference:
      No publication; defined here.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=_takes_snapshots)
    found = [node.due for node in nodes if _takes_snapshots(node)]
    if not found:
        raise ValueError(
            "snapshot_due: the state holds neither svrg nor loopless_svrg, got "
            f"{jax.tree.structure(opt_state)}"
        )
    return found[0]
