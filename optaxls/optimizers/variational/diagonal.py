"""Natural-gradient variational inference with a diagonal covariance."""

from typing import Any

import optax

from optaxls.directions.natural._diagonal import (
    Numbers,
    averaged,
    diagonal_pair,
    from_examples,
    from_noise,
    kept_positive,
    require_numbers,
)
from optaxls.optimizers.variational._rules import mean_rule
from optaxls.transforms.variational._diagonal import diagonal_posterior


def ivon(
    *,
    ess: float,
    prior_precision: float = 1.0,
    learning_rate: optax.ScalarOrSchedule | None = 0.1,
    b1: float = 0.9,
    b2: float = 0.99999,
    hessian_init: float = 1.0,
    clip_radius: float = float("inf"),
    key: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains a Gaussian over the params, with a diagonal covariance, at Adam's cost.

    The posterior is :math:`q = N(m, \operatorname{diag}(N s)^{-1})` with the params m,
    N (``ess``) examples and :math:`s = h + \delta`. Here h is the curvature of the
    loss, and :math:`\delta` is ``prior_precision`` / N. With g the gradient at a sample
    :math:`m + \epsilon` of q, :math:`\beta` = 1 - ``b2`` and the step size
    :math:`\eta`:

    :math:`\hat h = N s\,\epsilon\,g`,
    :math:`s_+ = \tfrac12 s\,(1 + (1 + \beta(\hat h + \delta - s)/s)^2)`,
    :math:`m_+ = m - \eta\,(h_0 + \delta)(\bar g + \delta m)/s_+`.

    :math:`\bar g` is the debiased average of g by ``b1``. The precision is half the sum
    of a positive number and a square, so it is never below half of what it was.

    The loss is the **mean** over examples, and the prior is N(0, 1/prior_precision).
    ``make_vi_step`` makes the whole step. In a loop of your own the gradient is taken
    at ``posterior_sample(opt_state, params)``, and that sample's noise is made again
    from the state. For bfloat16 params samples are rounded: where the noise is smaller
    than that, nothing is learned of the curvature.

    Args:
      ess: N > 0, the effective sample size: the number of training examples. There is
        no default, since it sets how wide the posterior is. A larger one gives a colder
        posterior.
      prior_precision: > 0, in 1 / params squared.
      learning_rate: > 0, :math:`\eta`, or a schedule of it. None: a search finds the
        step of the mean, without momentum and without the factor of
        :math:`h_0 + \delta`. It tests the loss of this batch, averaged over the samples
        of this step and with the prior's part. Batch and noise are the same in every
        trial. That is sound if both represent what is trained on: on large batches with
        several samples. A search on one small batch follows its noise, since gradients
        at samples do not vanish.
      b1: average of gradients, in [0, 1).
      b2: average of curvatures, in [0, 1). The published default keeps 99 % of
        ``hessian_init`` over 1,000 steps. In runs of that length try 0.998.
      hessian_init: :math:`h_0` > 0, the first curvature, in loss units / params
        squared. It also sets the scale of the first steps.
      clip_radius: > 0, largest entry of the natural gradient, in units of the params.
      key: a ``jax.random.key`` or an integer. Runs that shall differ need their own.

    Returns:
      An optimizer; ``update`` needs ``params``, and ``value`` and ``value_fn`` for a
      search. ``updates`` is the gradient of the loss at the sample. With several
      samples it is their mean, and ``sample_grads`` has them all, along a leading axis.
      A batch that is not finite gives no step and leaves the precision; the noise
      advances. One batch raises a precision tenfold at most, and where it would raise
      it by more the param stays; the published code has no such bound. Clipping in
      front of ``ivon`` reaches the mean, not the precision.

    State:
      ``pair`` with ``precision`` (s), ``momentum``, ``key`` and ``num_draws``, all
      float32 or wider but for the last two; and ``step_rule``, whose ``value`` has the
      prior's part in it. ``metrics`` shows ``mean_log_precision``.

    Raises:
      ValueError: an argument lies outside its range. TypeError: params are complex.

    Cost:
      No evaluation without a search; a trial is one forward pass per sample. Two copies
      of the params, in float32 or wider, and draws of noise twice a step.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> x = jnp.array([1.0, 2.0, 3.0, 4.0])
      >>> loss = lambda w, x: jnp.mean((x - w) ** 2) / 2      # precision 4 + 1
      >>> optimizer = optaxls.ivon(ess=4, b2=0.99)
      >>> step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=8))
      >>> w = jnp.zeros(())
      >>> state = optimizer.init(w)
      >>> for _ in range(600):
      ...     w, state, *_ = step(w, state, x)
      >>> bool(abs(w - 2.0) < 0.2), bool(abs(4 * state.pair.precision - 5) < 1.0)
      (True, True)

    Reference:
      Shen et al., Variational Learning is Effective for Large Deep Networks, 2024,
      arXiv:2402.17641, Algorithm 1, with the factor of the first curvature as in the
      authors' code. The positive update is that of Lin, Schmidt, Khan 2020,
      arXiv:2002.10060.
    """
    numbers = Numbers(ess, prior_precision, hessian_init, b1, b2, clip_radius, True)
    require_numbers(numbers)
    if learning_rate is None:
        numbers = numbers._replace(rescaled=False)
    pair = diagonal_pair("ivon", numbers, key, from_noise, kept_positive)
    needs = ("value", "value_fn") if learning_rate is None else ()
    return diagonal_posterior("ivon", pair, mean_rule("ivon", learning_rate), needs)


def vogn(
    *,
    ess: float,
    prior_precision: float = 1.0,
    learning_rate: optax.ScalarOrSchedule | None = 0.01,
    b1: float = 0.9,
    b2: float = 0.999,
    hessian_init: float = 1.0,
    key: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains a diagonal Gaussian over the params, by gradients of single examples.

    With N (``ess``), :math:`\delta` = ``prior_precision`` / N, :math:`\beta` = 1 -
    ``b2`` and the gradients :math:`g_i` of examples at a sample of the posterior
    :math:`N(m, \operatorname{diag}(N s)^{-1})`:

    :math:`s_+ = (1-\beta) s + \beta(\operatorname{mean}_i g_i^2 + \delta)`,
    :math:`m_+ = m - \eta\,(\bar g + \delta m)/s_+`,

    where :math:`\bar g` is the debiased average of gradients by ``b1``. The loss is the
    **mean** over examples. A model may not mix examples: with batch norm a gradient of
    one example does not exist.

    Args:
      ess: N > 0, the effective sample size: the number of training examples.
      prior_precision: > 0, in 1 / params squared.
      learning_rate: > 0, :math:`\eta`, or a schedule of it. None: a search finds the
        step of the mean, without momentum, on the loss of this batch at the samples of
        this step, which every trial sees. That is sound on large batches with several
        samples.
      b1: average of gradients, in [0, 1).
      b2: average of squares, in [0, 1).
      hessian_init: > 0, the first curvature, in loss units / params squared.
      key: a ``jax.random.key`` or an integer.

    Returns:
      An optimizer; ``update`` needs ``params`` and ``example_grads``, which are the
      gradients of the examples at the samples along one leading axis. In place of them
      it takes ``example_grad_fn``, from params to the gradients of all examples, which
      ``make_vi_step`` passes. A search needs ``value`` and ``value_fn`` too. A batch
      that is not finite gives no step and leaves the precision.

    State:
      ``pair`` with ``precision`` (s) and ``momentum``, and ``step_rule``.
      ``metrics`` shows ``mean_log_precision``.

    Raises:
      ValueError: an argument lies outside its range. TypeError: params are complex.

    Cost:
      One gradient for each example and sample besides that of the batch: the memory of
      as many copies of the params. Two copies of the params are kept. An explicit axis
      of a mesh that splits the examples cannot split the params too.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> x = jnp.array([1.0, 2.0, 3.0, 4.0])
      >>> loss = lambda w, x: jnp.mean((x - w) ** 2) / 2
      >>> optimizer = optaxls.vogn(ess=4, learning_rate=0.1, b2=0.9)
      >>> step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=8))
      >>> w = jnp.zeros(())
      >>> state = optimizer.init(w)
      >>> for _ in range(100):
      ...     w, state, *_ = step(w, state, x)
      >>> bool(abs(w - 2.0) < 0.4)         # the mean of the posterior is 2
      True

    Reference:
      Khan et al., Fast and Scalable Bayesian Deep Learning by Weight-Perturbation in
      Adam, 2018, arXiv:1806.04854, section 3.2; the momentum is that of Osawa et al.
      2019, arXiv:1906.02506.
    """
    radius = float("inf")
    numbers = Numbers(ess, prior_precision, hessian_init, b1, b2, radius, False)
    require_numbers(numbers)
    pair = diagonal_pair("vogn", numbers, key, from_examples, averaged)
    needs = ("value", "value_fn") if learning_rate is None else ()
    return diagonal_posterior("vogn", pair, mean_rule("vogn", learning_rate), needs)
