"""SaLSA (Kenneweg et al. 2024): a composition of parts."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.pairs import as_searched
from optaxls.parts.conditions.nonmonotone import smoothed_armijo
from optaxls.parts.gates import always, when_unsteady
from optaxls.parts.initial_steps.simple import grow
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.preconditioned import scale_by_preconditioned_search
from optaxls.transforms.searched import scale_by_line_search


def salsa(
    *,
    c: float = 0.5,
    b1: float = 0.9,
    b2: float = 0.999,
    decay: float = 0.9,
    growth: float = 1.1,
    decrease_factor: float = 0.8,
    initial_step_size: float = 1.0,
    gated: bool = True,
    search_b1: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""SaLSA: Adam with a smoothed Armijo search, made only while the step size moves.

    Searched steps go along :math:`-P g` and are applied as tested. Between searches the
    last step size, grown once by ``growth``, multiplies :math:`-P\hat m`. The condition
    is ``smoothed_armijo``; ``when_unsteady`` decides when to search.

    Args:
      c: in (0, 1), the share of the promised decrease to reach on average; 0.3 to 0.7
        in the papers.
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      decay: weight of the past in the averages that are compared, in [0, 1).
      growth: >= 1, dimensionless: growth of the first trial per step.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      initial_step_size: > 0, the first trial of the first step.
      gated: whether to pause the search; False searches at every step.
      search_b1: 0, or ``b1`` to search along the momentum direction.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``. A single step may raise its batch's loss: the average of decreases
      is tested.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      The median searched step costs one forward pass. About every tenth step is
      searched once the step size rests. Two copies of the params are kept.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.salsa()
      >>> step = jax.jit(optaxls.make_step(
      ...     lambda w: 0.5 * jnp.sum(w**2), optimizer))
      >>> w = jnp.array([2.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(50):
      ...     w, state, value, *_ = step(w, state)
      >>> bool(value < 1e-3)
      True

    Reference:
      Kenneweg et al., No learning rates needed: SaLSA, 2024, arXiv:2407.20650. The
      authors' code counts one step too many in the bias corrections; so does this.
    """
    gate = when_unsteady() if gated else always()
    step_rule = scale_by_line_search(
        smoothed_armijo(c, decay),
        grow(initial_step_size, growth),
        backtracking(decrease_factor),
        gate=gate,
        name="salsa",
    )
    optimizer = scale_by_preconditioned_search(
        step_rule,
        b1=b1,
        b2=b2,
        search_b1=search_b1,
        applied=as_searched,
        first_count=1,
        name="salsa",
    )
    return conjugated(optimizer)
