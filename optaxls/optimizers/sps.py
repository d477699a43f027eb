"""Stochastic Polyak step sizes (Loizou et al. 2021): a composition of parts."""

import math

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.optimizers._initial_steps import polyak_rule
from optaxls.transforms.untested import scale_by_initial_step


def sps(
    *,
    c: float = 0.5,
    lower_bound: float = 0.0,
    max_step_size: float = math.inf,
    growth: float | None = None,
    steps_per_epoch: float | None = None,
    initial_step_size: float = 1.0,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with the stochastic Polyak step size (SPS, SPS_max, smoothed SPS).

    :math:`\eta_k = \min\big((f_k - f_k^*)/(c\|g_k\|^2 + \epsilon), \eta_{\max}\big)`.
    With a ``growth`` it is also at most :math:`\gamma^{1/N}\eta_{k-1}`.

    Args:
      c: > 0, dimensionless: the step is divided by it; 0.5 in the convex theory, 0.2 in
        the smoothed network experiments.
      lower_bound: f*, of the mini-batch loss, loss units; the ``lower_bound`` given to
        ``update`` replaces it for one batch. On a batch whose loss lies there or below,
        no step is made and ``accepted`` is False: a loss that may be negative needs its
        own.
      max_step_size: > 0; set it where no params fit all batches.
      growth: gamma >= 1, the largest growth of the step size per epoch. None is no
        limit.
      steps_per_epoch: N > 0, ``dataset_size / batch_size``; needed with ``growth``.
      initial_step_size: > 0, the step size from which the first step may grow, used
        with ``growth`` only.
      eps: >= 0, units of the squared gradient.

    Returns:
      An optimizer of gradients; ``update`` needs ``params`` and ``value`` only.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It makes no forward pass and keeps no copy of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.sps(c=0.5)
      >>> w = jnp.array([2.0])
      >>> updates, _ = optimizer.update(w, optimizer.init(w), w, value=jnp.array(2.0))
      >>> print(optax.apply_updates(w, updates))    # f = w^2 / 2: 1 / (2 c L) = 1
      [0.]

    Reference:
      Loizou et al., Stochastic Polyak Step-size for SGD, 2021, arXiv:2002.10542,
      equations 2 and 3 and the smoothing of section 4.
    """
    rule = polyak_rule(
        c, lower_bound, max_step_size, growth, steps_per_epoch, initial_step_size, eps
    )
    step_rule = scale_by_initial_step(rule, name="sps")
    return conjugated(optax.chain(descent(), step_rule))
