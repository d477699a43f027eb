"""Adam with searched step sizes (Vaswani et al. 2020): compositions of parts."""

import math

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._momentum import resting_trace
from optaxls.optimizers._initial_steps import polyak_rule, reset_rule
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.preconditioned import scale_by_preconditioned_search
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.untested import scale_by_initial_step

_MOMENTA = ("standard", "heavy_ball", "nesterov")


def _with_momentum(
    step_rule: optax.GradientTransformationExtraArgs,
    momentum: str,
    b1: float,
    b2: float,
    variant: str,
    name: str,
) -> optax.GradientTransformationExtraArgs:
    """Adds Adam's own momentum, or heavy-ball or Nesterov momentum after the step."""
    checks.require_choice("momentum", momentum, _MOMENTA)
    inside = b1 if momentum == "standard" else 0.0
    searched = scale_by_preconditioned_search(
        step_rule, variant=variant, b1=inside, b2=b2, name=name
    )
    if momentum == "standard":
        return conjugated(searched)
    after = resting_trace(b1, nesterov=momentum == "nesterov")
    return conjugated(optax.chain(searched, after))


def adam_sls(
    *,
    steps_per_epoch: float,
    variant: str = "adam",
    b1: float = 0.0,
    b2: float = 0.99,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
    momentum: str = "standard",
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, AMSGrad, AdaGrad or RMSProp with the Armijo line search.

    :math:`f(w - \eta P g) \le f(w) - c\,\eta\sum_j P_j g_j^2` with
    :math:`P = 1/(\sqrt{\hat v} + \epsilon)` is tested without momentum. The step is
    then :math:`w_+ = w - \eta P \hat m`.

    Args:
      steps_per_epoch: N > 0, updates per pass over the data: ``dataset_size /
        batch_size``.
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step; the authors use 100
        with AdaGrad and reset "keep".
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at ``initial_step_size``.
      max_step_size: > 0, the longest first trial; none by default.
      momentum: "standard" (Adam's), "heavy_ball" (:math:`b_1 (w_k - w_{k-1})` after
        the step) or "nesterov" (what the authors' code calls heavy ball). Both rest
        while the mean loss is far above those of the first ten steps.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      The median step costs one forward pass. One copy of the params is kept per moment
      in use.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.adam_sls(steps_per_epoch=1, growth=1.0)
      >>> w = jnp.array([1.0, 1.0])
      >>> scales = jnp.array([1.0, 100.0])
      >>> result = optaxls.make_step(
      ...     lambda w: 0.5 * jnp.sum(scales * w**2), optimizer)(w, optimizer.init(w))
      >>> bool(jnp.max(jnp.abs(result.params)) < 1e-5)
      True

    Reference:
      Vaswani et al. 2020, arXiv:2006.06835, Algorithm 1.
    """
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor)
    step_rule = scale_by_line_search(armijo(c), rule, search, name="adam_sls")
    return _with_momentum(step_rule, momentum, b1, b2, variant, "adam_sls")


def adam_sps(
    *,
    variant: str = "adam",
    b1: float = 0.0,
    b2: float = 0.99,
    c: float = 0.5,
    lower_bound: float = 0.0,
    max_step_size: float = math.inf,
    growth: float | None = None,
    steps_per_epoch: float | None = None,
    initial_step_size: float = math.inf,
    momentum: str = "standard",
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, AMSGrad, AdaGrad or RMSProp with the Polyak step size.

    :math:`\eta = (f - f^*)/(c\sum_j P_j g_j^2 + \epsilon)` with
    :math:`P = 1/(\sqrt{\hat v} + \epsilon)`, and at most ``max_step_size``. With a
    ``growth`` the step size grows by at most that factor per epoch.

    Args:
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      c: > 0, dimensionless: the step is divided by it.
      lower_bound: f*, of the mini-batch loss, loss units; the ``lower_bound`` given to
        ``update`` replaces it for one batch. On a batch whose loss lies there or below,
        no step is made and ``accepted`` is False: a loss that may be negative needs its
        own.
      max_step_size: > 0, the longest step size.
      growth: >= 1, the largest growth of the step size per epoch. None is no limit.
      steps_per_epoch: > 0, ``dataset_size / batch_size``; needed with ``growth``.
      initial_step_size: > 0; inf leaves the first smoothed step uncapped, as published.
      momentum: "standard" (Adam's), "heavy_ball" (:math:`b_1 (w_k - w_{k-1})` after the
        step) or "nesterov".
      eps: >= 0, of the Polyak ratio.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value`` and ``grad``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It makes no forward pass, and keeps one copy of the params per moment in use.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.adam_sps(c=1.0)
      >>> w = jnp.array([2.0])
      >>> result = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)(
      ...     w, optimizer.init(w))
      >>> print(result.params)     # P = 1/2: eta = f / (P g^2) = 1
      [1.]

    Reference:
      Vaswani et al. 2020, arXiv:2006.06835, section 5 (Armijo and SPS step sizes).
    """
    rule = polyak_rule(
        c, lower_bound, max_step_size, growth, steps_per_epoch, initial_step_size, eps
    )
    step_rule = scale_by_initial_step(rule, name="adam_sps")
    return _with_momentum(step_rule, momentum, b1, b2, variant, "adam_sps")
