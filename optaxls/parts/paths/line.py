"""The straight line along the direction."""

import jax

from optaxls._core import trees
from optaxls.parts.types import Displacement, Origin


def along_direction(origin: Origin, step_size: jax.Array) -> Displacement:
    """The straight line: ``w+ - w = step_size * direction``.

    The displacement is this product itself, never ``(w + step_size * d) - w``, which
    loses digits. Its scalars follow from the origin's, so a trial costs no second pass
    over the params.

    Args:
      origin: where the step starts; ``origin.direction`` is what is added.
      step_size: scalar; a step size of 0 gives zeros even for a non-finite direction.

    Returns:
      The tree of updates (dtypes of the direction), ``<grad, w+ - w>`` and
      ``||w+ - w||^2``.

    Cost:
      No evaluation of the loss.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0, 2.0])
      >>> result = optaxls.line_search(
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(2.5), grad=w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(1.0),
      ...     path=optaxls.along_direction)
      >>> print(result.params)
      [0. 0.]

    Reference:
      Nocedal and Wright, Numerical Optimization, 2006, section 3.1.
    """
    updates = trees.scale(step_size, origin.direction, where=step_size > 0)
    return Displacement(
        updates, step_size * origin.slope, step_size**2 * origin.direction_sqnorm
    )
