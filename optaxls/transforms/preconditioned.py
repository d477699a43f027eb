"""Adam's preconditioner under any step-size rule."""

from collections.abc import Callable

import jax
import optax

from optaxls.directions.adam_moments import adam_moments
from optaxls.directions.pairs import Directions, with_momentum
from optaxls.parts.types import Outcome, Params
from optaxls.transforms.two_directions import two_directions


def scale_by_preconditioned_search(
    step_rule: optax.GradientTransformation,
    *,
    variant: str = "adam",
    b1: float = 0.9,
    b2: float = 0.999,
    search_b1: float = 0.0,
    eps: float = 1e-8,
    applied: Callable[
        [Directions, Outcome], tuple[Params, jax.Array | bool]
    ] = with_momentum,
    first_count: int = 0,
    name: str = "scale_by_preconditioned_search",
) -> optax.GradientTransformationExtraArgs:
    r"""Finds a step size along Adam's preconditioned gradient, applies it to momentum.

    :math:`v_k = \beta_2 v_{k-1} + (1-\beta_2) g^2`, :math:`P = 1/(\sqrt{\hat v}
    + \epsilon)`. ``step_rule`` finds :math:`\eta` along :math:`-P g`, whose slope
    :math:`-\sum_j P_j g_j^2` is always negative. The update is :math:`-\eta P \hat m`
    with :math:`m_k = \beta_1 m_{k-1} + (1-\beta_1) g`.

    Incoming updates are gradients: no ``optax.scale(-1.0)`` comes before. A gradient
    longer than ten times the root mean square of those before is shortened to that.

    Args:
      step_rule: ``scale_by_line_search(...)`` or ``scale_by_initial_step(...)``.
      variant: "adam"; "amsgrad" (largest v so far, bias-corrected); "adagrad" (sum of
        squares) and "rmsprop" (mean), both without bias correction.
      b1: weight of the past in the applied momentum, in [0, 1); 0 applies the searched
        direction, which then costs no first moment.
      b2: weight of the past squares, in [0, 1); unused by "adagrad".
      search_b1: 0, or ``b1`` to search along the momentum direction too.
      eps: > 0, units of the gradient.
      applied: which of the two directions the step size multiplies, given how the
        search ended: ``with_momentum``, or ``as_searched``, which SaLSA does.
      first_count: where the count of steps for the bias correction starts.
      name: the optimizer that error messages name.

    Returns:
      A transformation; ``update`` needs ``value``, ``grad`` and what ``step_rule``
      needs. A loss or gradient that is not finite leaves the moments as they were.

    State:
      ``pair`` (float32 or wider): ``count``, ``first_moment``, ``second_moment``,
      ``max_second_moment``; and ``step_rule``, with ``step_size`` and the rest.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It is that of ``step_rule``, and one copy of the params per moment in use.

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
    pair = adam_moments(
        variant=variant,
        b1=b1,
        b2=b2,
        search_b1=search_b1,
        eps=eps,
        first_count=first_count,
    )
    return two_directions(pair, step_rule, applied=applied, name=name)
