"""A path on which matrices keep their length."""

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Displacement, Origin, Params, Path


def _turned(w: jax.Array, d: jax.Array, step_size: jax.Array) -> jax.Array:
    """``r (w + step_size * d) / ||w + step_size * d|| - w`` with r the length of w."""
    if not trees.is_inexact(w) or w.ndim < 2:
        return trees.scale(step_size, d)
    wide, moved = trees.wide((w, trees.scale(step_size, trees.wide(d))))
    sqlength = jnp.sum(jnp.real(wide * jnp.conj(wide)))
    growth = jnp.sum(jnp.real((2 * wide + moved) * jnp.conj(moved)))
    # (||w + step_size * d|| / r)^2 less 1. Without it a short step would be a
    # difference of two long vectors, and lose its digits.
    excess = growth / jnp.where(sqlength > 0, sqlength, 1)
    ratio = jnp.sqrt(jnp.maximum(1 + excess, 0))
    turned = (moved - wide * (excess / (1 + ratio))) / jnp.where(ratio > 0, ratio, 1)
    # A matrix of zeros has no length to keep. One that a step would make 0 stays where
    # it is: the quotient is then that of 0 and 1.
    turned = jnp.where(sqlength > 0, turned, moved)
    return turned.astype(w.dtype)


def _displace(origin: Origin, step_size: jax.Array) -> Displacement:
    def leaf(w: jax.Array, d: jax.Array) -> jax.Array:
        return _turned(jnp.asarray(w), jnp.asarray(d), step_size)

    updates: Params = jax.tree.map(leaf, origin.params, origin.direction)
    dtype = origin.value.dtype
    change = trees.inner(origin.grad, updates, dtype)
    return Displacement(updates, change, trees.sqnorm(updates, dtype))


def _predicted_slope(origin: Origin, step_size: jax.Array) -> jax.Array:
    return _displace(origin, step_size).linear_change / step_size


def along_sphere() -> Path:
    r"""Moves along the direction, and back to the length that each matrix had.

    :math:`W_+(\eta) = r\,(W + \eta D)/\|W + \eta D\|_F` with :math:`r = \|W\|_F`, for
    each leaf of two axes or more; the others move along the straight line. Where layers
    are normalised, only the direction of a matrix counts. Otherwise its length grows
    from step to step, so that steps of the same size turn it less and less.

    Put ``optax.scale_by_trust_ratio()`` behind the direction, so that D has the length
    r: the step size is then the tangent of an angle, the same for all matrices.

    Returns:
      A path for ``scale_by_line_search``, ``scale_by_initial_step`` and the optimizers
      that have a ``path``. The lengths stay those of the start, to rounding. In
      bfloat16 they grow by a tenth or so in a run, since rounding loses the small part
      of a step that leads inwards. What moves the params after this path changes their
      lengths: momentum, weight decay. The average that ``eval_params`` returns is a
      little shorter. A matrix of zeros moves along the line until it has a length.

    Cost:
      Per trial two passes over params and direction, besides the loss.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> direction = optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio())
      >>> optimizer = optaxls.auto(direction, path=optaxls.along_sphere())
      >>> w, goal = jnp.array([[3.0, 4.0]]), jnp.array([[4.0, 3.0]])
      >>> state = optimizer.init(w)
      >>> for _ in range(50):
      ...     value, grad = jax.value_and_grad(lambda w: jnp.sum((w - goal)**2))(w)
      ...     updates, state = optimizer.update(grad, state, w, value=value, grad=grad)
      ...     w = optax.apply_updates(w, updates)
      >>> print(jnp.linalg.norm(w).round(3), (jnp.abs(w - goal) < 0.1).all())
      5.0 True

    Reference:
      Hyperball, arXiv:2606.16899; Absil, Mahony, Sepulchre 2008, section 4.1.1
      (retraction on the sphere).
    """
    return Path(_displace, _predicted_slope)
