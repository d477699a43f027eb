"""Sign descent with heavy-ball momentum."""

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._momentum import trace
from optaxls.directions._sign import negative_sign
from optaxls.parts.initial_steps.simple import constant, scheduled
from optaxls.transforms.untested import scale_by_initial_step


def sign_descent(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9
) -> optax.GradientTransformationExtraArgs:
    r"""Moves every param by the sign of its gradient, with heavy-ball momentum.

    :math:`w_{k+1} = w_k - \alpha\,\operatorname{sign}(g_k) + \beta (w_k - w_{k-1})`
    with :math:`\alpha` (``learning_rate``) and :math:`\beta` (``momentum``). The sign
    comes first, the momentum after; Lion and Signum have it the other way round.

    Args:
      learning_rate: > 0, the most that a parameter moves without momentum, in units of
        the params; or a schedule from the step count to it.
      momentum: dimensionless, in [0, 1).

    Returns:
      An optimizer of gradients; ``update`` needs ``params`` only. On a gradient that is
      not finite only the momentum of earlier steps moves the params.

    State:
      ``step_size`` (the learning rate), ``num_trials`` (0), ``accepted``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It keeps one copy of the params for the momentum.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.sign_descent(0.5, momentum=0.0)
      >>> w = jnp.array([3.0, -0.1])
      >>> updates, _ = optimizer.update(w, optimizer.init(w), w)
      >>> print(optax.apply_updates(w, updates))
      [2.5 0.4]

    Reference:
      Kunstner et al., Noise Is Not the Main Factor Behind the Gap Between SGD and
      Adam, 2023, arXiv:2304.13960.
    """
    checks.require("momentum", momentum, "[0, 1)")
    if callable(learning_rate):
        rule = scheduled(learning_rate)
    else:
        checks.require("learning_rate", learning_rate, "(0, inf)")
        rule = constant(learning_rate)  # pyright: ignore[reportArgumentType]
    optimizer = optax.chain(
        optax.stateless(negative_sign),
        scale_by_initial_step(rule, name="sign_descent"),
        trace(momentum),
    )
    return conjugated(optimizer)
