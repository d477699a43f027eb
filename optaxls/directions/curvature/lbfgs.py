"""The direction of L-BFGS from pairs whose two gradients are of one batch."""

from typing import Any

from optaxls._core.arguments import require_arguments
from optaxls._core.loss import grad_of
from optaxls.directions.curvature import _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.types import Params


def _tell(
    state: _pairs.PairsState,
    displacement: Params,
    report: Any,
    params: Params,
    *,
    grad: Any = None,
    value_fn: Any = None,
    grad_fn: Any = None,
    **extra: Any,
) -> _pairs.PairsState:
    """Puts a step in, with a second gradient on its batch."""
    del extra
    require_arguments("lbfgs_pairs", grad=grad)
    if grad_fn is None:
        require_arguments("lbfgs_pairs", value_fn=value_fn)
        grad_fn = grad_of(value_fn)
    # Computed in any case: inside of a branch a gradient can be slow.
    return _pairs.with_step(state, displacement, report, params, grad, grad_fn)


def lbfgs_pairs(*, memory_size: int = 10) -> DirectionPair:
    r"""The direction of L-BFGS, whose pairs hold two gradients of one batch.

    After a step :math:`s` on a batch with the gradient :math:`g`, the pair of
    :math:`s` and :math:`y = g(w + s) - g(w)` enters, both gradients on that batch. The
    difference of two batches' gradients would be noise. Minus the gradient, multiplied
    by the inverse Hessian that the pairs imply, is searched along and applied. It
    begins with the geometric mean of :math:`s^\top y / y^\top y` over the pairs.

    Args:
      memory_size: pairs that are kept, >= 1.

    Returns:
      A pair for ``two_directions``. ``update`` needs ``grad`` and, for the gradient
      after the step, ``grad_fn`` (params -> gradient) or else ``value_fn``. A pair
      whose :math:`s^\top y` is not positive, or not finite, does not enter. A failed
      search on a batch whose gradient is finite and not 0 makes it forget all pairs.

    State:
      ``report``: ``num_skipped``, the number of pairs without curvature so far, which
      ``metrics`` shows.

    Raises:
      ValueError: ``memory_size`` lies outside its range.
      TypeError: ``grad``, or both of the functions, are missing from ``update``.

    Cost:
      One gradient besides the step's, also where the step is not accepted;
      ``2 * memory_size`` copies of the params, in float32 or wider.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> pair = optaxls.lbfgs_pairs(memory_size=2)
      >>> g = jnp.array([3.0, 4.0])
      >>> directions, _ = pair.update(g, pair.init(g), g)
      >>> print(directions.searched)      # of length 1 at first
      [-0.6 -0.8]

    Reference:
      Nocedal and Wright 2006, Algorithm 7.4; Meng et al. 2020, arXiv:1910.04920. The
      mean is defined here; there the last pair's ratio is taken.
    """
    return _pairs.remembering(memory_size, _tell)
