"""How far a run stayed from fitting every example, and the curvature on its steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics._shared.derivatives import value_and_gradient
from optaxls.diagnostics._shared.intervals import around
from optaxls.diagnostics.estimate import Estimate


def distance_from_interpolation(
    initial_values: jax.Array, values: jax.Array, lower_bound: float = 0.0
) -> Estimate:
    r"""Measures which share of the loss that could vanish is still there.

    :math:`E(f_i(w) - l) / E(f_i(w_0) - l)`, with :math:`f_i(w_0)` the initial losses
    (``initial_values``), :math:`f_i(w)` the present ones (``values``) and l their bound
    (``lower_bound``). It is 0 where every example is fitted. Noise, or a model that is
    too small, keeps it away from 0.

    Args:
      initial_values: losses of n examples at the start, ``(n,)``.
      values: losses of the same examples now, ``(n,)``.
      lower_bound: the least value that the loss of an example can have, loss units.

    Returns:
      An ``Estimate``, dimensionless, with the interval of a ratio of means.

    Raises:
      ValueError: the two arrays have not one axis of the same length.

    Cost:
      It evaluates no loss.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import distance_from_interpolation
      >>> left = distance_from_interpolation(jnp.full(4, 2.0), jnp.full(4, 0.5))
      >>> print(left.value)
      0.25

    Reference:
      No publication; defined here. The numerator is that of Loizou et al., 2021,
      arXiv:2002.10542, with one bound in place of the minima of the examples.
    """
    arrays.require_vector("initial_values", initial_values)
    arrays.require_like("values", values, "initial_values", initial_values)
    before, after = initial_values - lower_bound, values - lower_bound
    ratio = after.mean() / before.mean()
    count = len(before)
    # Delta method: the ratio varies like the mean of its residuals.
    error = jnp.std(after - ratio * before) / (jnp.sqrt(count) * before.mean())
    return Estimate(*around(ratio, error, least=0.0, rounding=1e-6))


def smoothness_along(
    value_fn: Callable[[Any], jax.Array], params: Any, step: Any
) -> jax.Array:
    r"""Measures the curvature of the loss along a step.

    :math:`2 (f(w + d) - f(w) - \nabla f^T d)/|d|^2`, with f (``value_fn``), w
    (``params``) and d (``step``). It is at most L if the loss is L-smooth, and the
    curvature along d if the loss is quadratic. A step lowers the loss where this is
    below ``2 |slope| / |d|^2``.

    Args:
      value_fn: params -> loss.
      params: where the step starts.
      step: the displacement, like params.

    Returns:
      Loss per squared unit of the params, ``()``; NaN for a step of 0. Where the loss
      changes by less than its rounding error, the number has no meaning.

    Raises:
      ValueError: ``step`` has not the structure and shapes of ``params``.

    Cost:
      A gradient and a forward pass.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import smoothness_along
      >>> def loss(w):
      ...     return 1.5 * jnp.sum(w**2)
      >>> print(smoothness_along(loss, jnp.ones(2), -jnp.ones(2)))
      3.0

    Reference:
      Fox et al., 2025, arXiv:2506.12648, for local estimates along a run.
    """
    arrays.require_like("step", step, "params", params)
    dtype = trees.scalar_dtype(params)
    value, grad = value_and_gradient(value_fn, params)
    # Integer leaves of the step are not added.
    one, yes = jnp.ones((), dtype), jnp.ones((), bool)
    moved = trees.add_scaled(params, one, step, where=yes)
    rise = value_fn(moved) - value - trees.inner(grad, step, dtype)
    return 2 * rise / trees.sqnorm(step, dtype)
