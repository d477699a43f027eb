"""Accelerated SGD under strong growth (Vaswani, Bach, Schmidt 2019)."""

from typing import Any

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions.acceleration._three_sequences import three_sequences
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant, grow
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions
from optaxls.transforms.untested import scale_by_initial_step

_NAME = "accelerated_sgd"


def _check(
    growth_constant: Any, smoothness: Any, strong_convexity: Any, restart: Any
) -> None:
    checks.require("growth_constant", growth_constant, "[1, inf)")
    checks.require("strong_convexity", strong_convexity, "[0, inf)")
    checks.require_choice("restart", restart, (False, True))
    if smoothness is not None:
        checks.require("smoothness", smoothness, "(0, inf)")
    if isinstance(smoothness, (int, float)):
        checks.require("strong_convexity", strong_convexity, f"[0, {smoothness}]")


def accelerated_sgd(
    *,
    growth_constant: float,
    smoothness: float | None,
    strong_convexity: float = 0.0,
    restart: bool = False,
    initial_step_size: float = 1.0,
    decrease_factor: float = 0.5,
    growth: float = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Accelerated SGD for convex losses whose noise vanishes at the minimum.

    With :math:`\eta = 1/(\rho L)` and the gradient g at the trained params y,
    :math:`w_+ = y - \eta g`. For :math:`\mu > 0`, :math:`s = \sqrt{\mu\eta/\rho}`:
    :math:`v_+ = (1-s) v + s y - (s/\mu) g` and :math:`y_+ = (s v_+ + w_+)/(1+s)`. For
    :math:`\mu = 0`, :math:`t_+ = (1 + \sqrt{1 + 4 t^2})/2` from :math:`t = 1`:
    :math:`v_+ = v - (t\eta/\rho) g` and :math:`y_+ = w_+ + (v_+ - w_+)/t_+`.

    **Proven**, with :math:`\eta = 1/(\rho L)`: the loss falls as
    :math:`(1 - \sqrt{\mu/(\rho^2 L)})^k`, so :math:`\rho\sqrt{L/\mu}` steps do what
    takes SGD :math:`\rho L/\mu`. With :math:`\mu = 0` it is at most
    :math:`2\rho^2 L\|w_0 - w_*\|^2/k^2` above the minimum after k steps.

    **Not attainable** from sampled gradients alone, in general:
    :math:`\sqrt{\rho L/\mu}` steps. Where one of d coordinates is drawn in a step, one
    not yet drawn keeps its error, whatever the method. The momentum that attains it
    needs the full gradient. Plain Nesterov momentum with this step diverges unless
    :math:`\rho` is below 2 or so, that is with large batches.

    Args:
      growth_constant: rho >= 1 with
        :math:`E\|g_i\|^2 \le \rho\,\|\nabla f\|^2` (strong growth). It is 1 for full
        batches. ``optaxls.diagnostics.strong_growth`` measures it.
      smoothness: L > 0 of the whole loss. With None a search finds :math:`\eta`: the
        longest tried step with :math:`f(w_+) \le f(y) - \eta\|g\|^2/2` on the batch.
        It begins at the last step size, times ``growth``. No theorem covers the search
        on mini-batches.
      strong_convexity: mu >= 0, at most L; 0 if the loss is convex only.
      restart: sets v and y to :math:`w_+` wherever
        :math:`\langle g, w_+ - w\rangle > 0`. This replaces an unknown mu on full
        batches. On small ones the noise restarts too often.
      initial_step_size: > 0, the first trial of the first step, for the search.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it, in the search.
      growth: >= 1, dimensionless. With 1 steps never grow, which the theory needs, but
        two steep batches in a row shorten all later ones. 1.1 recovers from that.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value`` and ``grad``, and with
      ``smoothness=None`` ``value_fn``. It trains y; ``eval_params(opt_state, params)``
      gives w. A batch that is not finite gives no step.

    State:
      ``pair`` with w, v and ``num_restarts``; and ``step_rule``, that of
      ``scale_by_initial_step`` or ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation where L is given; else in the median one forward pass. Two copies of
      the params, one of them in float32 or wider.

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
      Models, 2019, arXiv:1810.07288, Theorems 1 and 2, with the sequences written out.
      The restart is that of O'Donoghue and Candes 2012, arXiv:1204.3982, section 3.2.
    """
    _check(growth_constant, smoothness, strong_convexity, restart)
    sequences = three_sequences(growth_constant, strong_convexity, restart)
    needs: tuple[str, ...] = ("params", "value", "grad")
    if smoothness is None:
        first = grow(initial_step_size, growth)
        search = backtracking(decrease_factor)
        rule = scale_by_line_search(armijo(0.5), first, search, name=_NAME)
        needs += ("value_fn",)
    else:
        step_size = constant(1 / (growth_constant * smoothness))
        rule = scale_by_initial_step(step_size, name=_NAME)
    pair, applied = sequences
    optimizer = two_directions(pair, rule, applied=applied, name=_NAME)
    return conjugated(optimizer, name=_NAME, needs=needs)
