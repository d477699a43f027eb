"""The examples as a finite sum: blocks of rows, in coordinates that suit the steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls.linear._losses import LOSSES
from optaxls.linear.problems import Problem


class Rows(NamedTuple):
    """The functions ``f_i`` whose mean is the loss: one block of examples each.

    With an intercept the features are centred, and a column of equal entries is behind
    them. Its parameter is a multiple of the intercept. Nothing penalises the
    intercept, so the minimum stays where it is, and the columns become orthogonal.

    Attributes:
      features: ``(N, b, p)``.
      targets: ``(N, b)``.
      weights: ``(N, b)``. Those of a block sum to the weight of its function, and all
        of them to ``N``. The last block is filled up with weights of 0.
      sqnorms: ``(N, b)``, squared lengths of the rows.
      bounds: ``(N,)``, upper bounds of the Lipschitz constants of the gradients.
      penalised: ``(p,)``, 1 for coefficients and 0 for the intercept.
      means: ``(d,)``, what was subtracted from the features.
      unit: the entry of the last column, scalar.
    """

    features: jax.Array
    targets: jax.Array
    weights: jax.Array
    sqnorms: jax.Array
    bounds: jax.Array
    penalised: jax.Array
    means: jax.Array
    unit: jax.Array


def _centred(problem: Problem) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the features with a last column, their means, and its entry."""
    features = problem.features
    means = problem.weights @ features / features.shape[0]
    centred = features - means
    # The entry is of the size of the others, so that the intercept moves as fast.
    spread = jnp.mean(problem.weights[:, None] * centred**2)
    unit = jnp.where(spread > 0, jnp.sqrt(spread), 1)
    last = jnp.broadcast_to(unit, (features.shape[0], 1))
    return jnp.concatenate([centred, last], 1), means, unit


def rows_of(problem: Problem, batch_size: int, key: jax.Array) -> Rows:
    """Cuts the examples into blocks, at random if these are larger than one."""
    features, size = problem.features, problem.features.shape[0]
    means, unit = jnp.zeros_like(features[0]), jnp.ones((), features.dtype)
    penalised = jnp.ones_like(means)
    if problem.intercept:
        features, means, unit = _centred(problem)
        penalised = jnp.append(penalised, 0)
    targets, weights = problem.targets, problem.weights
    if batch_size > 1:
        order = jax.random.permutation(key, size)
        features, targets, weights = features[order], targets[order], weights[order]
    number = -(-size // batch_size)

    def blocks(array: jax.Array) -> jax.Array:
        missing = number * batch_size - size
        array = jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
        return array.reshape(number, batch_size, *array.shape[1:])

    weights = blocks(weights * (number / size))
    sqnorms = blocks(jnp.sum(features**2, 1))
    bounds = LOSSES[problem.loss].curvature * jnp.sum(weights * sqnorms, 1)
    return Rows(
        blocks(features),
        blocks(targets),
        weights,
        sqnorms,
        bounds,
        penalised,
        means,
        unit,
    )


def as_given(rows: Rows, params: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coefficients and intercept for the features as the problem has them."""
    size = rows.means.shape[0]
    coefficients = params[:size]
    if params.shape[0] == size:
        return coefficients, jnp.zeros((), params.dtype)
    return coefficients, params[size] * rows.unit - rows.means @ coefficients


def gradient_as_given(rows: Rows, slopes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradient with respect to those, from that with respect to the params."""
    size = rows.means.shape[0]
    if slopes.shape[0] == size:
        return slopes, jnp.zeros((), slopes.dtype)
    intercept_slope = slopes[size] / rows.unit
    return slopes[:size] + rows.means * intercept_slope, intercept_slope
