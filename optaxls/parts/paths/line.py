"""The straight line along the direction, ``w+ - w = step_size * direction``."""

import jax

from optaxls._core import trees
from optaxls.parts.types import Displacement, Origin, Path


def _displace(origin: Origin, step_size: jax.Array) -> Displacement:
    # The product itself, never (w + step_size * d) - w, which loses digits. Its scalars
    # follow from the origin's, so a trial costs no second pass over the params.
    return Displacement(
        trees.scale(step_size, origin.direction),
        step_size * origin.slope,
        step_size**2 * origin.direction_sqnorm,
    )


def _predicted_slope(origin: Origin, step_size: jax.Array) -> jax.Array:
    del step_size
    return origin.slope


# Nocedal and Wright, Numerical Optimization, 2006, section 3.1.
along_direction = Path(_displace, _predicted_slope)
