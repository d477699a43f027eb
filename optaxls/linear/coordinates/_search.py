"""The step size towards the minimum of a model: the engine, on predictions.

Predictions are linear in the step size, so that a trial costs O(n) and touches no
feature.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optaxls._engine.origin import make_origin
from optaxls._engine.parts import Parts
from optaxls._engine.problem import make_problem
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.gates import always
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking

_PARTS = Parts(
    armijo(1e-4),
    constant(1.0),
    backtracking(0.5, max_trials=30),
    along_direction,
    always(),
    0,
)


def searched_step(
    value_fn: Callable[[jax.Array], jax.Array], value: jax.Array, slope: jax.Array
) -> jax.Array:
    """The first of 1, 1/2, 1/4, ... after which the objective has fallen enough.

    ``value_fn`` is the objective as a function of the step size, ``value`` that of 0.
    ``slope`` is the change that loss and penalty promise for a step size of 1. The
    result is 0 where that is no decrease, or all trials fail.
    """
    start, one = jnp.zeros_like(value), jnp.ones_like(value)
    origin = make_origin(start, slope, one, value)
    found = _PARTS.search(make_problem(value_fn, origin, _PARTS, ()), one, slope < 0)
    return jnp.where((slope < 0) & found.accepted, found.step_size, 0)
