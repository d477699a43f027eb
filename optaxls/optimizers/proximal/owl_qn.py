"""L-BFGS for a loss with an L1 penalty, orthant by orthant."""

from typing import Any

import optax

from optaxls.directions.proximal._restricted import reduced_by_l1, restricted_pairs
from optaxls.optimizers.proximal._full_batch import searched_from_one
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.paths.orthant import along_orthant
from optaxls.parts.proximal.penalties import l1


def owl_qn(
    weight: Any, *, memory_size: int = 10, c: float = 1e-4, max_trials: int = 20
) -> optax.GradientTransformationExtraArgs:
    r"""L-BFGS for :math:`f + \sum_j \lambda_j |w_j|`, for a loss that never changes.

    The gradient's place is taken by the pseudo-gradient :math:`\tilde g`, the steepest
    slope of loss and penalty. Coordinates that are not 0, or have no penalty, go along
    the L-BFGS direction that the pairs imply on these alone. The others go along
    :math:`-\sigma\tilde g`, with the scale :math:`\sigma` with which that direction
    begins. A coordinate that would change its sign becomes 0 (``along_orthant``). The
    step size 1 is tried first.

    This is the variant PSSgb of Schmidt. OWL-QN as published takes the direction from
    all coordinates, and drops those against the pseudo-gradient. It needs about twice
    as many evaluations: ``python -m examples.benchmark.sparse`` measures both.

    Args:
      weight: lambda >= 0, loss units per unit of the params; a number, an array, or a
        prefix of the tree of params. Parts of weight 0 are not penalised.
      memory_size: pairs that are kept, >= 1.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``, all
      of the loss without the penalty. Zeros are exact. ``minimize`` stops on the
      residual of the proximal gradient step. A failed search makes no step and forgets
      all pairs.

    State:
      ``pair``, the memory, and ``step_rule``, that of ``scale_by_line_search``, with
      ``trial_grad``, the gradient of the loss after the step.

    Raises:
      ValueError: an argument lies outside its range. TypeError: params are complex.

    Cost:
      One loss with its gradient per trial, most often one a step; ``2 * memory_size``
      copies of the params in float32 or wider, and as many passes over them.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> targets = jnp.array([3.0, 0.25, -2.0])
      >>> result = optaxls.minimize(
      ...     lambda w: 0.5 * jnp.sum((w - targets)**2), jnp.zeros(3),
      ...     optaxls.owl_qn(0.5))
      >>> print(*(f"{w:.3f}" for w in result.params))
      2.500 0.000 -1.500

    Reference:
      Schmidt 2010, Graphical Model Structure Learning with L1-Regularization, section
      2.3 (PSSgb), with pairs of the loss's gradients; Andrew and Gao 2007 (OWL-QN).
    """
    prox = l1(weight)
    pair = restricted_pairs(memory_size, reduced_by_l1(prox))
    return searched_from_one(
        pair, armijo(c), along_orthant(prox), max_trials, name="owl_qn"
    )
