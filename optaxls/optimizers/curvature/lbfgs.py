"""Stochastic L-BFGS with a line search (Meng et al. 2020)."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.curvature.lbfgs import lbfgs_pairs
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions


def stochastic_lbfgs(
    *,
    memory_size: int = 10,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""L-BFGS on mini-batches with a line search.

    Both gradients of a pair are on one batch. The inverse Hessian that they imply
    begins with the geometric mean of :math:`s^\top y / y^\top y` over the pairs. The
    search begins with the step size 1 at each step.

    Args:
      memory_size: pairs that are kept, >= 1.
      c: sufficient decrease, in (0, 1).
      decrease_factor: in (0, 1).
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``, and
      takes ``grad_fn``, which ``make_step`` passes. A pair without positive curvature
      does not enter. A failed search makes no step and forgets all pairs, unless its
      batch is not finite or has no gradient: the next step goes along the gradient.

    State:
      ``pair``, the memory, and ``step_rule``, that of ``scale_by_line_search``.
      ``metrics`` shows ``num_skipped``, the number of pairs without positive curvature.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One gradient more than SGD and, in the median, one forward pass;
      ``2 * memory_size`` copies of the params, in float32 or wider.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.stochastic_lbfgs()
      >>> step = optaxls.make_step(lambda w: jnp.sum((w - 3.0)**2), optimizer)
      >>> w = jnp.array([1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):
      ...     w, state, *_ = step(w, state)
      >>> print(w)      # a step of length 1, then Newton's
      [3.]

    Reference:
      Meng et al. 2020, arXiv:1910.04920; Nocedal and Wright 2006, Algorithm 7.5. The
      mean is defined here; there the last pair's ratio is taken.
    """
    search = backtracking(decrease_factor, max_trials=max_trials)
    name = "stochastic_lbfgs"
    rule = scale_by_line_search(armijo(c), constant(1.0), search, name=name)
    optimizer = two_directions(lbfgs_pairs(memory_size=memory_size), rule, name=name)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name=name, needs=needs)
