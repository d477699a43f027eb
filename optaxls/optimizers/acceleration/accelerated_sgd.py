"""Accelerated SGD under strong growth (Vaswani, Bach, Schmidt 2019)."""

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions.acceleration._three_sequences import three_sequences
from optaxls.parts.initial_steps.simple import constant
from optaxls.transforms.two_directions import two_directions
from optaxls.transforms.untested import scale_by_initial_step


def accelerated_sgd(
    *, growth_constant: float, smoothness: float, strong_convexity: float
) -> optax.GradientTransformationExtraArgs:
    r"""Accelerated SGD for strongly convex losses whose noise vanishes at the minimum.

    With :math:`\eta = 1/(\rho L)`, :math:`s = \sqrt{\mu\eta/\rho}` and the gradient g
    at the trained params y: :math:`w_+ = y - \eta g`,
    :math:`v_+ = (1-s) v + s y - (s/\mu) g` and :math:`y_+ = (s v_+ + w_+)/(1+s)`. It
    takes :math:`\rho\sqrt{L/\mu}` steps, where SGD takes :math:`\rho L/\mu`.

    Args:
      growth_constant: rho >= 1 with
        :math:`E\|g_i\|^2 \le \rho\,\|\nabla f\|^2` (strong growth).
      smoothness: L > 0 of the whole loss.
      strong_convexity: mu > 0, at most L.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value`` and ``grad``. It trains y;
      ``eval_params(opt_state, params)`` gives w. A batch that is not finite gives no
      step.

    State:
      ``pair`` with w and v, and ``step_rule``, that of ``scale_by_initial_step``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation; two copies of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.accelerated_sgd(
      ...     growth_constant=1.0, smoothness=1.0, strong_convexity=0.25)
      >>> w = jnp.array([1.0, 1.0])
      >>> result = optaxls.make_step(
      ...     lambda w: (w[0]**2 + w[1]**2 / 4) / 2, optimizer)(w, optimizer.init(w))
      >>> print(optaxls.eval_params(result.opt_state, result.params))
      [0.   0.75]

    Reference:
      Vaswani, Bach, Schmidt, Fast and Faster Convergence of SGD for Over-Parameterized
      Models, 2019, arXiv:1810.07288, Theorem 1, with the
      sequences written out for a strongly convex loss.
    """
    checks.require("growth_constant", growth_constant, "[1, inf)")
    checks.require("smoothness", smoothness, "(0, inf)")
    checks.require("strong_convexity", strong_convexity, "(0, inf)")
    if isinstance(smoothness, (int, float)):
        checks.require("strong_convexity", strong_convexity, f"(0, {smoothness}]")
    step_size = 1 / (growth_constant * smoothness)
    name = "accelerated_sgd"
    pair = three_sequences(growth_constant, step_size, strong_convexity)
    rule = scale_by_initial_step(constant(step_size), name=name)
    optimizer = two_directions(pair, rule, name=name)
    return conjugated(optimizer, name=name, needs=("params", "value", "grad"))
