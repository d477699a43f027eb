"""L-BFGS within bounds: projected, with a metric of its own for coordinates at them."""

from typing import Any

import optax

from optaxls.directions.proximal._restricted import (
    reduced_by_bounds,
    restricted_pairs,
)
from optaxls.optimizers.proximal._full_batch import searched_from_one
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.paths.proximal import along_projection
from optaxls.parts.proximal.sets import box


def two_metric(
    lower: Any,
    upper: Any,
    *,
    memory_size: int = 10,
    c: float = 1e-4,
    max_trials: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""L-BFGS within bounds, for a loss that never changes.

    :math:`w_+ = P(w + \eta d)` with the projection P onto :math:`l \le w \le u`.
    Coordinates that the gradient pushes onto a bound go along :math:`-\sigma g`. The
    others are free, and go along the L-BFGS direction that the pairs imply on these
    alone: a direction from all coordinates, projected, need not descend. The step size
    1 is tried first.

    Args:
      lower: l, units of the params; a number, an array that broadcasts against the
        leaves, or a prefix of the tree of params. ``-inf`` is no bound.
      upper: u >= l, likewise; ``inf`` is no bound.
      memory_size: pairs that are kept, >= 1.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.
      Bounds hold to the last bit. From outside of them the first step is the
      projection. ``minimize`` stops on the residual :math:`w - P(w - g)`. A failed
      search makes no step and forgets all pairs.

    State:
      ``pair``, the memory, and ``step_rule``, that of ``scale_by_line_search``, with
      ``trial_grad``, the gradient after the step.

    Raises:
      ValueError: a bound is NaN, ``lower`` is above ``upper``, or another argument lies
      outside its range. TypeError: params are complex.

    Cost:
      One loss with its gradient per trial, most often one a step; ``2 * memory_size``
      copies of the params in float32 or wider, and as many passes over them.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> targets = jnp.array([3.0, 0.25, -2.0])
      >>> result = optaxls.minimize(
      ...     lambda w: jnp.sum(jnp.cosh(w - targets)), jnp.zeros(3),
      ...     optaxls.two_metric(0.0, 1.0))
      >>> print(jnp.round(result.params, 3))
      [1.   0.25 0.  ]

    Reference:
      Gafni and Bertsekas 1984; Bertsekas 1982, Projected Newton Methods for
      Optimization Problems with Simple Constraints, equations 32 to 36.
    """
    prox = box(lower, upper)
    pair = restricted_pairs(memory_size, reduced_by_bounds(prox))
    return searched_from_one(
        pair, armijo(c), along_projection(prox), max_trials, name="two_metric"
    )
