"""A quadratic model of the objective on a working set, and greedy steps that solve it.

On so few coefficients the model's matrix is at hand. So a step keeps the whole gradient
up to date in O(s), and the best coordinate is known at each.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.linear._losses import LOSSES
from optaxls.linear._optimality import Slopes, shrunk
from optaxls.linear.problems import Problem

# The least second derivative, as a share of the largest. Without it a coordinate along
# which the loss is straight, as that of huber is far out, would have no minimum.
_LEAST_CURVATURE = 1e-4
# The model is solved until the promised decrease of a step is this share of the first.
# It is the square of the share that remains of the gradient.
_SHARE = 1e-4
# Steps for each coordinate in the set. As many cost about what the matrix does.
_STEPS_EACH = 20


class Model(NamedTuple):
    """The second-order expansion of loss and L2, the intercept minimised over.

    Attributes:
      features: ``(s, n)``, the columns of the working set.
      means: ``(s,)``, their means, weighted by the second derivatives of the losses.
      matrix: ``(s, s)``, the second derivatives.
      slopes: ``(s,)``, the gradient at ``start``.
      start: ``(s,)``, the coefficients where it is expanded.
      shift: what the intercept changes by where no coefficient does, scalar.
    """

    features: jax.Array
    means: jax.Array
    matrix: jax.Array
    slopes: jax.Array
    start: jax.Array
    shift: jax.Array


def _curvatures(problem: Problem, predictions: jax.Array) -> jax.Array:
    """The second derivatives of the losses, with their weights, ``(n,)``."""
    loss = LOSSES[problem.loss]

    def slope(at: jax.Array) -> jax.Array:
        return loss.slope(at, problem.targets)

    one = jnp.ones_like(predictions)
    found = jax.jvp(slope, (predictions,), (one,))[1]
    found = jnp.maximum(found, _LEAST_CURVATURE * loss.curvature)
    return problem.weights * found / predictions.shape[0]


def model_of(
    problem: Problem, coefficients: jax.Array, slopes: Slopes, places: jax.Array
) -> Model:
    """Expands the objective on the coefficients at ``places`` (s,)."""
    curvatures = _curvatures(problem, slopes.predictions)
    mass = jnp.sum(curvatures)
    # Made once, columns in rows: else XLA gathers them anew for each use.
    features = jax.lax.optimization_barrier(problem.features.T[places])
    means, shift = jnp.zeros_like(features[:, 0]), jnp.zeros((), features.dtype)
    if problem.intercept:
        means, shift = features @ curvatures / mass, -slopes.intercept / mass
    root = (features - means[:, None]) * jnp.sqrt(curvatures)
    matrix = root @ root.T
    # A column that does not vary has no curvature of its own. What rounding leaves of
    # its gradient must not be divided by what rounding leaves of that.
    info = jnp.finfo(matrix.dtype)
    least = info.eps * (features**2 @ curvatures) + info.tiny**0.5
    diagonal = jnp.maximum(jnp.diagonal(matrix), least) + problem.l2
    matrix = jnp.fill_diagonal(matrix, diagonal, inplace=False)
    start = coefficients[places]
    gradient = slopes.coefficients[places] + problem.l2 * start
    gradient += means * mass * shift
    return Model(features, means, matrix, gradient, start, shift)


class _Best(NamedTuple):
    """The coordinate whose own minimum promises most, how far it is, and the promise.

    The promise is a lower bound of the decrease, twice.
    """

    place: jax.Array
    change: jax.Array
    promise: jax.Array


class _Walk(NamedTuple):
    coefficients: jax.Array
    slopes: jax.Array
    best: _Best
    num_steps: jax.Array


def minimised(model: Model, l1: jax.Array) -> jax.Array:
    """The coefficients ``(s,)`` at which the model with L1 is nearly the least.

    Each step goes to the minimum along one coordinate, the one that promises most.
    """
    diagonal = jnp.diagonal(model.matrix)

    def best(coefficients: jax.Array, slopes: jax.Array) -> _Best:
        goal = shrunk(coefficients - slopes / diagonal, l1 / diagonal)
        changes = goal - coefficients
        promises = diagonal * changes**2
        place = jnp.argmax(promises)
        return _Best(place, changes[place], promises[place])

    first = best(model.start, model.slopes)
    most = _STEPS_EACH * diagonal.shape[0]

    def goes_on(walk: _Walk) -> jax.Array:
        return (walk.best.promise > _SHARE * first.promise) & (walk.num_steps < most)

    def step(walk: _Walk) -> _Walk:
        place, change, _ = walk.best
        coefficients = walk.coefficients.at[place].add(change)
        slopes = walk.slopes + model.matrix[place] * change
        return _Walk(
            coefficients, slopes, best(coefficients, slopes), walk.num_steps + 1
        )

    start: Any = _Walk(model.start, model.slopes, first, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(goes_on, step, start).coefficients
