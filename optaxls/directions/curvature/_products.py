"""Products with the curvature of a loss, in real coordinates of the trained leaves.

Derivatives are linearised once at the params. So a product costs no pass at the params
themselves, which matters inside the loop of conjugate gradients.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import scalar_value_fn
from optaxls.parts.types import Params, ValueFn

# Real vectors, one for each trained leaf.
Reals = list[jax.Array]
Product = Callable[[Reals], Reals]


def real_leaves(tree: Params, dtype: Any) -> Reals:
    """The trained leaves in ``dtype``; of complex ones, real and imaginary parts."""
    return [
        (
            jnp.stack([jnp.real(leaf), jnp.imag(leaf)])
            if jnp.iscomplexobj(leaf)
            else jnp.asarray(leaf)
        ).astype(dtype)
        for leaf in trees.inexact_leaves(tree)
    ]


def filled(tree: Params, reals: Reals) -> Params:
    """``tree`` with such leaves in place of its trained ones, in their dtypes."""
    leaves, treedef = jax.tree.flatten(tree)
    values = iter(reals)

    def leaf_of(leaf: Any) -> Any:
        if not trees.is_inexact(leaf):
            return leaf
        real = next(values)
        if jnp.iscomplexobj(leaf):
            real = jax.lax.complex(real[0], real[1])
        return real.astype(jnp.result_type(leaf))

    return treedef.unflatten([leaf_of(leaf) for leaf in leaves])


def _derivative(loss_fn: ValueFn, at: Params, dtype: Any) -> Product:
    """The derivative of the loss's gradient at ``at``, a linear function."""
    loss = scalar_value_fn(loss_fn, dtype)
    gradient = jax.grad(lambda reals: loss(filled(at, reals)))
    return jax.linearize(gradient, real_leaves(at, dtype))[1]


def hessian_product(value_fn: ValueFn, params: Params, dtype: Any) -> Product:
    """``v -> H v`` with H the Hessian of a loss at ``params``."""
    return _derivative(value_fn, params, dtype)


def gauss_newton_product(
    predict_fn: Callable[[Params], Any],
    prediction_loss_fn: ValueFn,
    params: Params,
    dtype: Any,
) -> Product:
    """``v -> J^T K J v`` with J of the predictions, and K the Hessian of their loss."""
    reals = real_leaves(params, dtype)
    predicted = predict_fn(params)

    def predict(at: Reals) -> Reals:
        return real_leaves(predict_fn(filled(params, at)), dtype)

    forward = jax.linearize(predict, reals)[1]
    backward = jax.linear_transpose(forward, reals)
    bend = _derivative(prediction_loss_fn, predicted, dtype)
    return lambda vector: backward(bend(forward(vector)))[0]


def matrix_of(product: Product, like: Reals) -> jax.Array:
    """The matrix whose products with vectors ``like`` these are, column by column."""
    flat, unravel = trees.raveled(like)
    identity = jnp.eye(len(flat), dtype=flat.dtype)
    return jax.vmap(lambda one: trees.raveled(product(unravel(one)))[0])(identity)
