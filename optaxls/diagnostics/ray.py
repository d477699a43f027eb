"""The loss along a ray: what a line search sees, and where each rule would stop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
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
      step_sizes: of the points, ``(points,)``.
      values: loss there, ``(points,)``.
      value: loss at ``params``, ``()``.
      slope: directional derivative there, ``()``; negative downhill.
      armijo, goldstein, polyak: the step sizes at which the rules stop, ``()``; 0 where
        a search found none.
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
    r"""Evaluates the loss along a ray and runs the searches from its far end.

    :math:`\phi(\eta) = f(w + \eta d)`. Armijo's and Goldstein's searches start at the
    largest of ``step_sizes``; the Polyak step is
    :math:`(f - l^*) / (-\nabla f^T d)`, untested.

    Args:
      value_fn: params -> loss on one batch, or on all data.
      params: w.
      direction: d, what is added; like params.
      step_sizes: > 0, ``(points,)``.
      c: in (0, 1/2), of Armijo's and Goldstein's conditions.
      decrease_factor: in (0, 1), of their searches.
      lower_bound: l*, loss units.

    Returns:
      A ``Ray``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      A gradient, a forward pass a point, and those of the two searches.

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
      Ours; the rules cite theirs.
    """
    checks.require("c", c, "(0, 0.5)")
    dtype = trees.scalar_dtype(params)
    value, grad = jax.value_and_grad(value_fn)(params)
    step_sizes = jnp.asarray(step_sizes, dtype)

    def at(step_size: jax.Array) -> jax.Array:
        yes = jnp.ones((), bool)
        return value_fn(trees.add_scaled(params, step_size, direction, where=yes))

    longest = constant(jnp.max(step_sizes))  # pyright: ignore[reportArgumentType]
    search = backtracking(decrease_factor, max_trials=_MAX_TRIALS)

    def stop(condition: Condition, initial_step: InitialStep) -> jax.Array:
        return line_search(
            value_fn, params, direction, value=value, grad=grad, condition=condition,
            initial_step=initial_step, search=search,
        ).step_size  # fmt: skip

    slope = trees.inner(grad, direction, dtype)
    return Ray(
        step_sizes,
        jax.lax.map(at, step_sizes),
        value,
        slope,
        stop(armijo(c), longest),
        stop(goldstein(c), longest),
        stop(always_accept(), polyak(1.0, lower_bound)),
    )
