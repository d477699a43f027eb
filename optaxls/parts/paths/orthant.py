"""A path that stays in one orthant, where an L1 penalty is linear."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.paths._kinks import weights_of
from optaxls.parts.paths._penalised import penalised
from optaxls.parts.types import Origin, Params, Path, Proximal


def along_orthant(prox: Proximal) -> Path:
    r"""Moves along the direction; a coordinate that would change its sign becomes 0.

    :math:`w_+(\eta)_j = w_j + \eta d_j` where that has the sign of :math:`w_j`, or of
    :math:`d_j` if :math:`w_j = 0`; else 0. So an L1 penalty is linear along the path:
    the step it makes may be long in all coordinates, and its zeros are exact.
    Coordinates of weight 0 move along the straight line.

    ``value_fn`` and ``grad`` are those of the loss alone. What is tested, and reported
    as ``value``, has the penalty in it, as with ``along_prox``.

    Args:
      prox: ``optaxls.prox.l1(weight)``.

    Returns:
      A path for ``scale_by_line_search``. On coordinates at 0 the direction must go
      downhill in loss and penalty, as that of ``owl_qn`` does.

    Raises:
      TypeError: ``prox`` is of another kind; or, in the first ``update``, params are
      complex.

    Cost:
      Per trial one pass over the params and one penalty, besides the loss.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w, targets = jnp.array([1.0, 1.0]), jnp.array([3.0, -2.0])
      >>> result = optaxls.line_search(      # the second one stops at 0
      ...     lambda w: 0.5 * jnp.sum((w - targets)**2), w, targets - w,
      ...     value=0.5 * jnp.sum((w - targets)**2), grad=w - targets,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(1.0),
      ...     path=optaxls.along_orthant(optaxls.prox.l1(0.5)))
      >>> print(result.params)
      [3. 0.]

    Reference:
      Andrew and Gao 2007, Scalable Training of L1-Regularized Log-Linear Models, the
      projection of section 3.2.
    """
    if not isinstance(prox, Proximal) or prox.is_set or not prox.separable:
        raise TypeError(
            "along_orthant: prox must be a penalty such as optaxls.prox.l1(0.1), "
            f"got {prox!r}"
        )

    def updates(origin: Origin, step_size: jax.Array) -> Params:
        params = jax.tree.map(jnp.asarray, origin.params)
        line = trees.scale(step_size, trees.wide(origin.direction))

        def leaf(p: Any, m: Any, weight: Any) -> Any:
            if not trees.is_inexact(p):
                return jnp.zeros_like(p)
            # The sign of the sum as it will be rounded.
            m = m.astype(p.dtype)
            side = jnp.where(p != 0, jnp.sign(p), jnp.sign(m))
            crosses = (weight > 0) & ((p + m) * side <= 0)
            return jnp.where(crosses, -p, m)

        return jax.tree.map(leaf, params, line, weights_of(prox, params))

    return penalised(prox, updates)
