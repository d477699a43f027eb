"""Where an L1 penalty has its kinks, and how steep it is there."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import value_and_grad
from optaxls.parts.types import Params, Proximal


def weights_of(prox: Proximal, params: Params) -> Params:
    """The weight of each coordinate in an L1 penalty, like params; 0 of integers."""

    def one(leaf: Any) -> jax.Array:
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"an L1 penalty by orthants needs real params, got {leaf.dtype}: use "
                "optaxls.fista"
            )
        return jnp.ones_like(leaf)

    # The derivative of weight * |w| at w = 1.
    ones = jax.tree.map(one, trees.wide(params))
    return value_and_grad(prox.penalty, ones, False)[1]
