"""The search for the Lipschitz constant of one function: the engine, on predictions.

Along minus its gradient a function of a linear model is one of its predictions alone.
So a trial costs O(1), or O(b) for a block of b examples, and touches no feature.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core.loss import rounding
from optaxls._engine.origin import make_origin
from optaxls._engine.parts import Parts
from optaxls._engine.problem import make_problem
from optaxls.linear._losses import Loss
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.gates import always
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking

# f(w - g / L) <= f(w) - |g|^2 / (2 L), and L doubles until that holds.
_PARTS = Parts(
    armijo(0.5), constant(1.0), backtracking(0.5), along_direction, always(), 0
)


class Tested(NamedTuple):
    """A constant that passed the test, and whether there was one at all."""

    constant: jax.Array
    passed: jax.Array


def searched_constant(
    loss: Loss,
    predictions: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    changes: jax.Array,
    first: jax.Array,
) -> Tested:
    """Doubles ``first`` until a step of its inverse passes the test.

    ``changes`` (b,) is how fast the predictions fall along minus the gradient. There is
    no test where the rounding of the loss would decide it, as for a gradient of 0.
    """

    def value_fn(at: Any) -> jax.Array:
        return jnp.sum(weights * loss.value(at, targets))

    value = value_fn(predictions)
    slopes = weights * loss.slope(predictions, targets)
    origin = make_origin(predictions, slopes, -changes, value)
    problem = make_problem(value_fn, origin, _PARTS, ())
    noise = rounding(predictions, slopes, value, origin.value_rounding)
    clear = -0.5 * origin.slope > 2 * noise * first
    found = _PARTS.search(problem, 1 / first, clear)
    return Tested(1 / found.step_size, clear & found.accepted)
