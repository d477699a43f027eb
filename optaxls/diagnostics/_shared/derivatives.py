"""Derivatives of a loss: the one place where a measurement takes any.

Only floating-point and complex leaves of the params are differentiated. Integer leaves
keep their values, as they do in ``make_step``.
"""

from collections.abc import Callable
from typing import Any

import jax

from optaxls._core import loss, trees


def value_and_gradient(
    value_fn: Callable[[Any], jax.Array], params: Any
) -> tuple[jax.Array, Any]:
    """The loss and JAX's gradient of it, like the params; 0 for integer leaves."""
    return loss.value_and_grad(value_fn, params, False)


def slope_along(
    value_fn: Callable[[Any], jax.Array], params: Any, direction: Any
) -> jax.Array:
    """The derivative of the loss along ``direction``, without forming a gradient.

    ``direction`` has one leaf for each differentiated leaf of the params, in order.
    """
    leaves, structure = jax.tree.flatten(params)
    trained = [index for index, leaf in enumerate(leaves) if trees.is_inexact(leaf)]
    moving = [leaves[index] for index in trained]
    # jvp wants tangents of exactly the dtype of the params.
    tangents = [
        part.astype(leaf.dtype)
        for part, leaf in zip(jax.tree.leaves(direction), moving, strict=True)
    ]

    def of_trained(moved: Any) -> jax.Array:
        whole = list(leaves)
        for index, leaf in zip(trained, moved, strict=True):
            whole[index] = leaf
        return value_fn(jax.tree.unflatten(structure, whole))

    return jax.jvp(of_trained, (moving,), (tangents,))[1]
