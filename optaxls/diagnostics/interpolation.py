"""How far training stayed from fitting every example, and the curvature on the way."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.diagnostics._estimate import Estimate, around


def distance_from_interpolation(
    initial_values: jax.Array, values: jax.Array, lower_bound: float = 0.0
) -> Estimate:
    r"""What is left of the loss that could vanish.

    :math:`E(f_i(w) - l) / E(f_i(w_0) - l)`: 0 where every example is fitted; bounded
    away from 0 where noise, or a model too small, forbids that.

    Args:
      initial_values: losses of n examples at the start, ``(n,)``.
      values: theirs now.
      lower_bound: the least value that the loss of an example can have, loss units.

    Returns:
      An ``Estimate``, dimensionless; the interval is that of a ratio of means.

    Cost:
      No pass.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import distance_from_interpolation
      >>> left = distance_from_interpolation(jnp.full(4, 2.0), jnp.full(4, 0.5))
      >>> print(left.value)
      0.25

    Reference:
      Ours; its numerator is that of Loizou et al., 2021, arXiv:2002.10542, with the
      bound in place of the examples' own minima.
    """
    before, after = initial_values - lower_bound, values - lower_bound
    share = after.mean() / before.mean()
    count = len(before)
    error = jnp.std(after - share * before) / (jnp.sqrt(count) * before.mean())
    return around(share, error, least=0.0, rounding=1e-6)


def smoothness_along(
    value_fn: Callable[[Any], jax.Array], params: Any, step: Any
) -> jax.Array:
    r"""The curvature that a step met: :math:`2 (f(w + d) - f(w) - \nabla f^T d)/|d|^2`.

    At most L of a smooth loss; on a quadratic the curvature along d. Steps are short
    enough where it is below ``2 |slope| / |d|^2``.

    Args:
      value_fn: params -> loss.
      params: w.
      step: d, like params.

    Returns:
      Loss per squared unit of the params, ``()``; NaN for a step of 0. Where the loss
      changes by less than its rounding error this is rounding too.

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
    dtype = trees.scalar_dtype(params)
    value, grad = jax.value_and_grad(value_fn)(params)
    moved = jax.tree.map(jnp.add, params, step)
    rise = value_fn(moved) - value - trees.inner(grad, step, dtype)
    return 2 * rise / trees.sqnorm(step, dtype)
