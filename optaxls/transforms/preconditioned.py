"""Adam's preconditioner under any step-size rule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from optaxls._core import trees
from optaxls._core.arguments import require_arguments, require_same_leaves
from optaxls.directions.adam_moments import Moments, Preconditioner
from optaxls.parts.types import Params
from optaxls.transforms.two_directions import Directions, with_momentum


class PreconditionedState(NamedTuple):
    """The moments, and the state of the step-size rule."""

    moments: Moments
    step_rule: Any


def scale_by_preconditioned_search(
    step_rule: optax.GradientTransformationExtraArgs,
    *,
    variant: str = "adam",
    b1: float = 0.9,
    b2: float = 0.999,
    search_b1: float = 0.0,
    eps: float = 1e-8,
    applied: Callable[[Directions, jax.Array], Params] = with_momentum,
    first_count: int = 0,
    name: str = "scale_by_preconditioned_search",
) -> optax.GradientTransformationExtraArgs:
    r"""A step-size rule under Adam's preconditioner, momentum applied but not searched.

    :math:`v_k = \beta_2 v_{k-1} + (1-\beta_2) g^2`, :math:`P = 1/(\sqrt{\hat v}
    + \epsilon)`. The rule finds :math:`\eta` along :math:`-P g`, whose slope
    :math:`-\sum_j P_j g_j^2` is always negative, and the update is
    :math:`-\eta P \hat m` with :math:`m_k = \beta_1 m_{k-1} + (1-\beta_1) g`.
    Incoming updates are gradients: no ``optax.scale(-1.)`` before. One longer than ten
    times the root mean square of those before enters as that long.

    Args:
      step_rule: ``scale_by_line_search(...)`` or ``scale_by_initial_step(...)``.
      variant: "adam"; "amsgrad" (largest v so far, bias-corrected); "adagrad" (sum of
        squares) and "rmsprop" (mean), both without bias correction.
      b1: weight of the past in the applied momentum, in [0, 1); 0 applies the searched
        direction, which then costs no first moment.
      b2: weight of the past squares, in [0, 1); unused by "adagrad".
      search_b1: 0, or ``b1`` to search along the momentum direction too.
      eps: > 0, units of the gradient.
      applied: which of the two directions the step size multiplies, given the number
        of trials: ``with_momentum``, or ``as_searched`` as in SaLSA.
      first_count: where the count of steps for the bias correction starts.
      name: the rule that error messages speak of.

    Returns:
      A transformation; ``update`` needs ``value``, ``grad`` and what ``step_rule``
      needs. A loss or gradient that is not finite leaves the moments as they were.

    State:
      ``moments`` (float32 or wider): ``count``, ``first_moment``, ``second_moment``,
      ``max_second_moment``; and the rule's ``step_size``, ``num_trials``, ...

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      That of ``step_rule``; one copy of the params per moment in use.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> def loss(w):
      ...     return 0.5 * jnp.sum(jnp.array([1.0, 100.0]) * w**2)
      >>> optimizer = optaxls.scale_by_preconditioned_search(
      ...     optaxls.scale_by_line_search(optaxls.armijo(0.1), optaxls.constant(1.0)),
      ...     b1=0.0, b2=0.9)
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> value, grad = jax.value_and_grad(loss)(w)
      >>> updates, state = optimizer.update(
      ...     grad, state, w, value=value, grad=grad, value_fn=loss)
      >>> w = optax.apply_updates(w, updates)     # P = 1 / |g| in the first step
      >>> bool(jnp.max(jnp.abs(w)) < 1e-5)
      True

    Reference:
      Vaswani et al., Adaptive Gradient Methods Converge Faster with
      Over-Parameterization, 2020, arXiv:2006.06835, Algorithm 1 and section 5.
    """
    preconditioner = Preconditioner(variant, b1, b2, search_b1, eps, first_count)
    preconditioner.check()

    def init(params: Params) -> PreconditionedState:
        moments = trees.fresh(preconditioner.init(params))
        return PreconditionedState(moments, step_rule.init(params))

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        **extra: Any,
    ) -> tuple[Params, PreconditionedState]:
        require_arguments(name, params=params, value=value, grad=grad)
        require_same_leaves(name, updates, params=params, grad=grad)
        updates, moments = preconditioner.advance(updates, value, state.moments)
        directions = preconditioner.directions(updates, moments)
        rule_state: Any
        searched, rule_state = step_rule.update(
            directions.searched,
            state.step_rule,
            params,
            value=value,
            grad=grad,
            **extra,
        )
        if preconditioner.uses_momentum:
            step_size = rule_state.step_size
            chosen = applied(directions, rule_state.num_trials)
            searched = trees.scale(step_size, chosen, where=step_size > 0)
        return searched, PreconditionedState(moments, rule_state)

    return optax.GradientTransformationExtraArgs(init, update)
