"""Natural-gradient variational inference with a full covariance, for small models."""

from typing import Any

import optax

from optaxls.directions.natural._diagonal import Numbers, require_numbers
from optaxls.optimizers.variational._rules import gaussian_rule
from optaxls.transforms.variational._full import full_posterior


def _numbers(ess: Any, prior_precision: Any, hessian_init: Any) -> Numbers:
    numbers = Numbers(ess, prior_precision, hessian_init, 0.0, 0.0, 1.0, False)
    require_numbers(numbers)
    return numbers


def von(
    *,
    ess: float,
    prior_precision: float = 1.0,
    learning_rate: optax.ScalarOrSchedule | None = 0.1,
    hessian_init: float = 1.0,
    key: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains a Gaussian over the params by Newton steps on samples (VON).

    The posterior is :math:`N(m, (N S)^{-1})` with the params m and N (``ess``)
    examples. With :math:`\delta` = ``prior_precision`` / N, the step size b, and
    gradient g and Hessian H of the loss, both averaged over samples of the posterior:

    :math:`S_+ = (1-b) S + b (H + \delta I)`,
    :math:`m_+ = m - b\,S_+^{-1} (g + \delta m)`.

    The loss is the **mean** over examples. Where it is not convex, :math:`S_+` may not
    be positive definite. Then there is no step, and ``accepted`` is False: see
    ``iblr``.

    Args:
      ess: N > 0, the effective sample size: the number of training examples.
      prior_precision: > 0, in 1 / params squared.
      learning_rate: b in (0, 1], or a schedule of it. 1 forgets the old precision.
        None: a search finds b, on the negative ELBO of mean *and* precision at the
        batch and the noise of this step, which every trial sees. It begins at 1. That
        is sound if batch and samples represent what is trained on: for full batches and
        many samples. With few, each step fits its own noise.
      hessian_init: > 0, the first curvature, in loss units / params squared.
      key: a ``jax.random.key`` or an integer.

    Returns:
      An optimizer; ``update`` needs ``params`` and ``value_fn``, whose Hessian it takes
      at the samples; for a search ``value`` too. ``updates`` is the mean gradient at
      the samples, and ``sample_grads`` has all of several. In place of ``value_fn`` it
      takes ``hessian``, (n, n): the mean Hessian, known by quadrature for example. A
      batch that is not finite gives no step and leaves the precision; the noise
      advances.

    State:
      ``factor``, C with :math:`S = C C^\top`, (n, n); ``key``, ``num_draws`` and
      ``step_rule``. With a search its ``value`` is the negative ELBO over N, but for a
      constant. ``metrics`` shows ``mean_log_precision``.

    Raises:
      ValueError: an argument lies outside its range; from ``init``, the matrices need
      more than 1 GiB. TypeError: params are complex.

    Cost:
      n products with the Hessian for each sample; about five (n, n) matrices and
      n^3 operations for their factors. A trial is one forward pass per sample.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.von(ess=4, learning_rate=1.0)
      >>> step = optaxls.make_vi_step(lambda w: (w - 2.5) ** 2 / 2, optimizer)
      >>> w = jnp.zeros(())
      >>> state = optimizer.init(w)
      >>> w, state, *_ = step(w, state)
      >>> print(4 * state.factor**2)           # 4 of the examples, 1 of the prior
      [[5.]]

    Reference:
      Khan et al., Fast and Scalable Bayesian Deep Learning by Weight-Perturbation in
      Adam, 2018, arXiv:1806.04854, section 3.1; the mean moves by the new precision.
    """
    numbers = _numbers(ess, prior_precision, hessian_init)
    rule = gaussian_rule("von", learning_rate)
    return full_posterior("von", numbers, key, rule, learning_rate is None)


def iblr(
    *,
    ess: float,
    prior_precision: float = 1.0,
    learning_rate: optax.ScalarOrSchedule | None = 0.1,
    hessian_init: float = 1.0,
    key: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains a Gaussian over the params, whose precision stays positive (iBLR).

    This is ``von`` with a term of second order. With :math:`S = C C^\top` and
    :math:`D = H + \delta I - S`:

    :math:`m_+ = m - b\,S^{-1} (g + \delta m)`,
    :math:`S_+ = \tfrac12\,[S + (C + b D C^{-\top})(C + b D C^{-\top})^\top]`,

    which is :math:`S + b D + \tfrac12 b^2 D S^{-1} D`. It is written as a sum of
    squares, and C is what is kept, so that float32 does not break it. The mean moves by
    the old precision.

    Args:
      ess: N > 0, the effective sample size: the number of training examples.
      prior_precision: > 0, in 1 / params squared.
      learning_rate: b in (0, 1], or a schedule of it. None: a search finds b, on the
        negative ELBO of mean *and* precision at the batch and the noise of this step,
        which every trial sees. That is sound for full batches and many samples.
      hessian_init: > 0, the first curvature, in loss units / params squared.
      key: a ``jax.random.key`` or an integer.

    Returns:
      An optimizer; ``update`` needs ``params`` and ``value_fn``, or ``hessian`` in
      place of it; for a search ``value`` too. ``updates`` is the mean gradient at the
      samples, and ``sample_grads`` has all of several. A batch that is not finite gives
      no step and leaves the precision; the noise advances.

    State:
      ``factor``, C, (n, n); ``key``, ``num_draws`` and ``step_rule``. ``metrics`` shows
      ``mean_log_precision``.

    Raises:
      ValueError: an argument lies outside its range; from ``init``, the matrices need
      more than 1 GiB. TypeError: params are complex.

    Cost:
      n products with the Hessian for each sample; about five (n, n) matrices and
      n^3 operations for their factors. A trial is one forward pass per sample.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.iblr(ess=4, learning_rate=0.5)
      >>> step = jax.jit(optaxls.make_vi_step(
      ...     lambda w: jnp.sum((w - 2.5) ** 2) / 2, optimizer))
      >>> w = jnp.zeros(1)
      >>> state = optimizer.init(w)
      >>> for _ in range(30):
      ...     w, state, *_ = step(w, state)
      >>> print(round(float(4 * state.factor[0, 0] ** 2), 3))
      5.0

    Reference:
      Lin, Schmidt, Khan 2020, arXiv:2002.10060, section 3, for a Gaussian, in the order
      of the authors' code.
    """
    numbers = _numbers(ess, prior_precision, hessian_init)
    rule = gaussian_rule("iblr", learning_rate)
    return full_posterior("iblr", numbers, key, rule, learning_rate is None)
