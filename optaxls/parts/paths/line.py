"""The straight line along the direction, ``w+ - w = step_size * direction``."""

import jax

from optaxls._core import trees
from optaxls.parts.paths._bounds import nudged
from optaxls.parts.paths._penalised import penalised
from optaxls.parts.types import Displacement, Origin, Params, Path, Proximal


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


def along_segment(prox: Proximal) -> Path:
    r"""Moves along the straight line, whose trials have the penalty in their loss.

    :math:`w_+(\eta) = w + \eta d` with :math:`0 < \eta \le 1`, where :math:`w + d` came
    out of a proximal operator or a projection, as with ``spg`` and ``pqn``. All of the
    segment lies in a convex set if its ends do, so no trial costs a projection. Bounds
    hold to the last bit.

    ``value_fn`` and ``grad`` are those of the loss alone. The predicted decrease is
    :math:`\langle g, w_+ - w\rangle + h(w_+) - h(w)`.

    Args:
      prox: one of ``optaxls.prox``, such as ``optaxls.prox.nonnegative()``.

    Returns:
      A path for ``scale_by_line_search``. Let the trials begin at 1, with
      ``constant(1.0)``, and get shorter.

    Raises:
      TypeError: ``prox`` is of another kind.

    Cost:
      Per trial one penalty, besides the loss.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0, 1.0])
      >>> result = optaxls.line_search(
      ...     lambda w: jnp.sum(w**2), w, jnp.array([-1.0, -0.5]),
      ...     value=jnp.array(2.0), grad=2 * w, condition=optaxls.armijo(0.1),
      ...     initial_step=optaxls.constant(1.0),
      ...     path=optaxls.along_segment(optaxls.prox.nonnegative()))
      >>> print(result.params)
      [0.  0.5]

    Reference:
      Birgin, Martinez, Raydan 2000, Nonmonotone Spectral Projected Gradient Methods,
      Algorithm 2.2 (SPG2).
    """
    if not isinstance(prox, Proximal):
        raise TypeError(
            "along_segment: prox must be a Proximal such as "
            f"optaxls.prox.nonnegative(), got {prox!r}"
        )

    def updates(origin: Origin, step_size: jax.Array) -> Params:
        moved = trees.scale(step_size, origin.direction)
        if prox.bounds is None:
            return moved
        return nudged(prox.bounds, origin.params, moved)

    return penalised(prox, updates)
