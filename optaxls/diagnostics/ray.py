"""The loss along a ray, and the step size at which each line search would stop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics._shared.derivatives import value_and_gradient
from optaxls.parts.conditions.monotone import always_accept, armijo, goldstein
from optaxls.parts.initial_steps.polyak import polyak
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import Condition, InitialStep
from optaxls.transforms.searched import line_search

# Enough to shrink a step by 1e-9 with a decrease factor of 0.9.
_MAX_TRIALS = 200


class Ray(NamedTuple):
    """The loss along ``params + step_size * direction``.

    Attributes:
      step_sizes: step size of each point, ``(points,)``.
      values: loss at each point, ``(points,)``.
      value: loss at ``params``, ``()``.
      slope: directional derivative at ``params``, ``()``; negative downhill.
      armijo: step size of a search with Armijo's condition, ``()``; 0 if it fails.
      goldstein: step size of a search with Goldstein's conditions, ``()``; 0 if it
        fails.
      polyak: Polyak's step size, ``()``; 0 uphill.
    """

    step_sizes: jax.Array
    values: jax.Array
    value: jax.Array
    slope: jax.Array
    armijo: jax.Array
    goldstein: jax.Array
    polyak: jax.Array


def loss_along_ray(
    value_fn: Callable[[Any], jax.Array],
    params: Any,
    direction: Any,
    step_sizes: jax.Array,
    *,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    lower_bound: float = 0.0,
) -> Ray:
    r"""Evaluates the loss along a ray, and runs three step-size methods on it.

    The loss at the step size eta is :math:`\phi(\eta) = f(w + \eta d)`, with f
    (``value_fn``), w (``params``) and d (``direction``). The searches of Armijo and
    Goldstein start at the largest of ``step_sizes``. The Polyak step is
    :math:`(f - l^*) / (-\nabla f^T d)`, without a test, with :math:`l^*`
    (``lower_bound``).

    Args:
      value_fn: params -> loss on one batch, or on all data.
      params: where the ray starts; integer leaves stay fixed.
      direction: what is added to the params, like them.
      step_sizes: > 0, ``(points,)``.
      c: in (0, 1/2), constant of Armijo's and Goldstein's conditions.
      decrease_factor: in (0, 1), shortens the trials of their searches.
      lower_bound: the least value that the loss can have, loss units.

    Returns:
      A ``Ray``.

    Raises:
      ValueError: an argument lies outside its range; ``direction`` has not the
        structure and shapes of ``params``; ``step_sizes`` has not one axis.

    Cost:
      A gradient, a forward pass for each point, and the trials of the two searches.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import loss_along_ray
      >>> w = jnp.array([3.0])
      >>> def loss(w):
      ...     return jnp.sum(w**2)
      >>> ray = loss_along_ray(loss, w, -2 * w, jnp.array([0.5, 1.0]))
      >>> print(ray.values, ray.slope, ray.polyak)
      [0. 9.] -36.0 0.25

    Reference:
      No publication; defined here. ``armijo``, ``goldstein``, ``polyak`` cite theirs.
    """
    checks.require("c", c, "(0, 0.5)")
    arrays.require_like("direction", direction, "params", params)
    arrays.require_vector("step_sizes", step_sizes)
    known = arrays.known_range(step_sizes)
    if known and not known[0] > 0:
        raise ValueError(f"step_sizes must be > 0, got {known[0]}")
    dtype = trees.scalar_dtype(params)
    value, grad = value_and_gradient(value_fn, params)
    step_sizes = jnp.asarray(step_sizes, dtype)

    def value_at(step_size: jax.Array) -> jax.Array:
        yes = jnp.ones((), bool)
        return value_fn(trees.add_scaled(params, step_size, direction, where=yes))

    # An array, which ``constant`` takes as it takes a number.
    longest = constant(jnp.max(step_sizes))  # pyright: ignore[reportArgumentType]
    search = backtracking(decrease_factor, max_trials=_MAX_TRIALS)

    def stop(condition: Condition, initial_step: InitialStep) -> jax.Array:
        # No fallback: its step size would look like one that the search accepted.
        return line_search(
            value_fn, params, direction, value=value, grad=grad, condition=condition,
            initial_step=initial_step, search=search, fallback_step=0.0,
        ).step_size  # fmt: skip

    slope = trees.inner(grad, direction, dtype)
    return Ray(
        step_sizes,
        jax.lax.map(value_at, step_sizes),
        value,
        slope,
        stop(armijo(c), longest),
        stop(goldstein(c), longest),
        # Polyak's step is the first trial of a search that accepts any.
        stop(always_accept(), polyak(1.0, lower_bound)),
    )
