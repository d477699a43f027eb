"""How far params are from a minimum, with and without a penalty."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import as_scalar, value_and_grad
from optaxls._core.reports import paths_of
from optaxls.parts.types import Params, Proximal, ValueFn
from optaxls.training._update import Extra


class Objective(NamedTuple):
    """What is minimised: a loss, and the penalty of the optimizer's path, if any.

    ``extra`` gives further arguments of the optimizer's ``update``.
    """

    value_fn: ValueFn
    prox: Proximal | None
    extra: Extra | None


def objective_of(
    value_fn: ValueFn, optimizer: Any, params: Params, extra: Extra | None
) -> Objective:
    """The loss and the penalty of the path along which the optimizer moves."""
    found = [path.prox for path in paths_of(optimizer.init, params)]
    found = [prox for prox in found if prox is not None]
    return Objective(value_fn, found[-1] if found else None, extra)


def loss_and_grad(value_fn: ValueFn, params: Params) -> tuple[jax.Array, Params]:
    """Loss and gradient, without the penalty."""

    def loss(at: Params) -> jax.Array:
        return as_scalar(value_fn(at), trees.scalar_dtype(at), "what value_fn returns")

    return value_and_grad(loss, params, False)


def evaluate(objective: Objective, params: Params) -> tuple[jax.Array, Params]:
    """Loss with its penalty, and the gradient of the loss alone."""
    value, grad = loss_and_grad(objective.value_fn, params)
    return value + penalty_at(objective, params), grad


def penalty_at(objective: Objective, params: Params) -> jax.Array | float:
    """The penalty at ``params``, and 0.0 where there is none."""
    if objective.prox is None:
        return 0.0
    return objective.prox.penalty(params)


def _residual(prox: Proximal, params: Params, grad: Params) -> Params:
    """``w - prox(w - g)``, with a step size of 1; 0 at a minimum."""
    params = trees.wide(params)
    ahead = trees.difference(params, trees.conj(grad))
    return trees.difference(params, prox.prox(ahead, jnp.ones(())))


def optimality(
    objective: Objective, params: Params, grad: Params, dtype: Any
) -> jax.Array:
    """The largest absolute entry of gradient or residual, NaN if an entry is."""
    if objective.prox is not None:
        grad = _residual(objective.prox, params, grad)
    entries = [
        jnp.max(jnp.abs(leaf), initial=0).astype(dtype)
        for leaf in trees.inexact_leaves(grad)
    ]
    return functools.reduce(jnp.maximum, entries, jnp.zeros((), dtype))
