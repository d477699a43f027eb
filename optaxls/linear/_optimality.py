"""How far a point is from a minimum, by which every solver stops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls.linear._losses import LOSSES
from optaxls.linear.problems import Problem


def shrunk(coefficients: jax.Array, by: jax.Array) -> jax.Array:
    """The proximal operator of ``by * |w|_1``: entries move towards 0 by ``by``."""
    return coefficients - jnp.clip(coefficients, -by, by)


def residual(
    problem: Problem,
    coefficients: jax.Array,
    slopes: jax.Array,
    intercept_slope: jax.Array,
) -> jax.Array:
    """The largest entry of the prox-gradient, scalar; NaN if an entry is.

    ``slopes`` and ``intercept_slope`` are the gradient of the mean loss, without the
    penalties. Without L1 the result is the largest entry of the gradient.
    """
    slopes = slopes + problem.l2 * coefficients
    # This is w - prox(w - g), without the difference of nearly equal coefficients.
    entries = slopes + jnp.clip(coefficients - slopes, -problem.l1, problem.l1)
    largest = jnp.max(jnp.abs(entries))
    if not problem.intercept:
        return largest
    return jnp.maximum(largest, jnp.abs(intercept_slope))


class Point(NamedTuple):
    """The objective at a point, and the residual there, scalars."""

    objective: jax.Array
    optimality: jax.Array


class Slopes(NamedTuple):
    """Predictions ``(n,)``, and the gradient of the mean loss without penalties."""

    predictions: jax.Array
    coefficients: jax.Array
    intercept: jax.Array


def evaluated_with_slopes(
    problem: Problem, coefficients: jax.Array, intercept: jax.Array
) -> tuple[Point, Slopes]:
    """Evaluates objective and residual on all examples, and what these follow from."""
    loss = LOSSES[problem.loss]
    predictions = problem.features @ coefficients + intercept
    losses = problem.weights * loss.value(predictions, problem.targets)
    slopes = problem.weights * loss.slope(predictions, problem.targets)
    size = problem.targets.shape[0]
    penalty = 0.5 * problem.l2 * jnp.sum(coefficients**2)
    penalty += problem.l1 * jnp.sum(jnp.abs(coefficients))
    gradient = slopes @ problem.features / size
    found = Slopes(predictions, gradient, jnp.mean(slopes))
    far = residual(problem, coefficients, found.coefficients, found.intercept)
    return Point(jnp.mean(losses) + penalty, far), found


def evaluated(problem: Problem, coefficients: jax.Array, intercept: jax.Array) -> Point:
    """Evaluates objective and residual on all examples."""
    return evaluated_with_slopes(problem, coefficients, intercept)[0]
