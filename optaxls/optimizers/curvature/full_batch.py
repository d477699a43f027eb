"""L-BFGS for a loss that is the same at every step."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.curvature._full_batch import full_batch_pairs
from optaxls.parts.conditions.slopes import wolfe
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.interpolating import interpolating
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions


def lbfgs(
    *,
    memory_size: int = 10,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_trials: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""L-BFGS with a strong Wolfe search, for a loss that is the same at every step.

    :math:`w_{k+1} = w_k - \eta_k H_k \nabla f(w_k)`, where :math:`H_k` is the inverse
    Hessian that the last ``memory_size`` changes of params and gradient imply. It
    begins with the geometric mean of :math:`s^\top y / y^\top y` over these pairs. The
    step size 1 is tried first. The first step has length 1 at most.

    Every trial evaluates the loss with its gradient, and the next step begins with the
    gradient of the accepted trial. ``minimize`` does so. A step then costs as many
    evaluations as it has trials, which is most often one. A loop of your own finds both
    by ``optax.tree.get(state, "trial_value")`` and ``"trial_grad"`` after the first
    step.

    Args:
      memory_size: pairs that are kept, >= 1.
      c1: sufficient decrease, in (0, 1).
      c2: share of the slope that may be left, in (c1, 1).
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.
      A pair without positive curvature does not enter. A failed search makes no step
      and forgets all pairs: the next step goes along the gradient.

    State:
      ``pair``, the memory, and ``step_rule``, that of ``scale_by_line_search``, with
      loss and gradient after the step as ``trial_value`` and ``trial_grad``.
      ``metrics`` shows ``num_skipped``, the number of pairs without positive curvature.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss with its gradient per trial; ``2 * memory_size`` copies of the params, in
      float32 or wider, and one for the gradient that is kept.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> result = optaxls.minimize(
      ...     lambda w: jnp.sum(jnp.cosh(w - 3.0)), jnp.zeros(2), optaxls.lbfgs())
      >>> bool(result.converged), bool(jnp.allclose(result.params, 3.0))
      (True, True)

    Reference:
      Nocedal 1980; Nocedal and Wright, Numerical Optimization, 2006, Algorithm 7.5. The
      mean is defined here; there the last pair's ratio is taken.
    """
    search = interpolating(max_trials)
    rule = scale_by_line_search(
        wolfe(c1, c2), constant(1.0), search, fallback_step=0.0, name="lbfgs"
    )
    pair = full_batch_pairs(memory_size=memory_size)
    optimizer = two_directions(pair, rule, name="lbfgs")
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name="lbfgs", needs=needs)
