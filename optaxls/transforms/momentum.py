"""Momentum after a step-size rule: the heavy ball, and Nesterov's form."""

from typing import Any

import optax

from optaxls._core import checks
from optaxls._core.arguments import require_arguments
from optaxls.directions._momentum import resting_trace


def _momentum(
    name: str, momentum: float, nesterov: bool
) -> optax.GradientTransformationExtraArgs:
    checks.require("momentum", momentum, "[0, 1)")
    trace = resting_trace(momentum, nesterov=nesterov)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        **extra: Any,
    ) -> tuple[Any, Any]:
        del extra
        require_arguments(name, value=value)
        return trace.update(updates, state, params, value=value)

    return optax.GradientTransformationExtraArgs(trace.init, update)


def heavy_ball(momentum: float = 0.9) -> optax.GradientTransformationExtraArgs:
    r"""Adds the last displacement to the step that a search made.

    :math:`w_{k+1} = w_k - \eta_k g_k + \beta (w_k - w_{k-1})` with :math:`\beta`
    (``momentum``), where :math:`-\eta_k g_k` is the step made before it in the chain.
    That is ``optax.trace(momentum)``, but for one case. Once the mean loss climbs far
    above the first ten, momentum rests until it has come down, and :math:`\beta` is
    halved. A search tests its own step only, so steps of maximal
    length and momentum together can diverge.

    **Proven**: on quadratics of known constants, with full gradients, a constant step
    and the best :math:`\beta`, the error falls as :math:`(1 - 1/\sqrt\kappa)^k`, up to
    constants. With sampled gradients it is as slow as SGD in general, also
    where every example is fitted. ``accelerated_sgd`` is not.

    Args:
      momentum: beta, in [0, 1), dimensionless; 0.9 is the common choice.

    Returns:
      A transformation to write after a step-size rule, as in the example. ``update``
      needs ``value``. Where no step is made before it, momentum goes on.

    State:
      ``trace``: the last displacement, like params. The scalars tell what the losses
      say of it: ``resting`` and ``decay_factor`` (1, 1/2, ...).

    Raises:
      ValueError: ``momentum`` lies outside its range.
      TypeError: ``value`` is missing from ``update``.

    Cost:
      No evaluation; one copy of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optax.chain(
      ...     optax.scale(-1.0), optaxls.scale_by_initial_step(optaxls.constant(0.25)),
      ...     optaxls.heavy_ball(0.5))
      >>> step = optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)
      >>> w = jnp.array([4.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):
      ...     w, state, *_ = step(w, state)
      ...     print(w)          # 4 - 2, then 2 - 1 + 0.5 (2 - 4)
      [2.]
      [0.]

    Reference:
      Polyak 1964. Kidambi, Netrapalli, Jain, Kakade 2018, arXiv:1803.05591, for what it
      does not do on mini-batches.
    """
    return _momentum("heavy_ball", momentum, False)


def nesterov(momentum: float = 0.9) -> optax.GradientTransformationExtraArgs:
    r"""Adds the last displacement and Nesterov's correction to the step of a search.

    With :math:`u_k = -\eta_k g_k`, the step made before it in the chain,
    :math:`w_{k+1} = w_k + u_k + \beta (w_k - w_{k-1}) + \beta (u_k - u_{k-1})`. The
    last term is the correction that ``heavy_ball`` lacks. The same in two sequences:
    :math:`y_{k+1} = w_k + u_k`, :math:`w_{k+1} = y_{k+1} + \beta (y_{k+1} - y_k)`. It
    is ``optax.trace(momentum, nesterov=True)``, but rests as ``heavy_ball`` does.

    **Proven**: with full gradients, a step of 1 / L and
    :math:`\beta = (1 - s)/(1 + s)`, :math:`s = 1/\sqrt\kappa`, the loss falls as
    :math:`(1 - 1/\sqrt\kappa)^k` on every strongly convex loss.

    **Diverges** with sampled gradients whose growth constant :math:`\rho` is above 2 or
    so and the step :math:`1/(\rho L)`: batches have to be large. Take
    ``accelerated_sgd`` there.

    Args:
      momentum: beta, in [0, 1), dimensionless; 0.9 is the common choice.

    Returns:
      A transformation to write after a step-size rule, as in the example. ``update``
      needs ``value``. Where no step is made before it, momentum goes on.

    State:
      That of ``heavy_ball``; ``trace`` is :math:`y_{k+1} - y_k`.

    Raises:
      ValueError: ``momentum`` lies outside its range.
      TypeError: ``value`` is missing from ``update``.

    Cost:
      No evaluation; one copy of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optax.chain(
      ...     optax.scale(-1.0), optaxls.scale_by_initial_step(optaxls.constant(0.25)),
      ...     optaxls.nesterov(0.5))
      >>> step = optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)
      >>> w = jnp.array([4.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):
      ...     w, state, *_ = step(w, state)
      ...     print(w)          # y = 2, w = 2 + 0.5 (2 - 4); then y = 0.5
      [1.]
      [-0.25]

    Reference:
      Nesterov 1983; Sutskever, Martens, Dahl, Hinton 2013 for the first form. Gupta,
      Siegel, Wojtowytsch 2024, arXiv:2302.05515, for the divergence.
    """
    return _momentum("nesterov", momentum, True)
