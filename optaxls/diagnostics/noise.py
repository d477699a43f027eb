"""The tail of gradient noise: how rare very large noise is."""

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics._shared.intervals import NORMAL_95
from optaxls.diagnostics.estimate import Estimate


def tail_index(norms: jax.Array, share: float = 0.1) -> Estimate:
    r"""Estimates the tail index of gradient noise, by Hill's estimator.

    :math:`\hat\alpha = k / \sum_{i \le k} \log(x_{(i)} / x_{(k+1)})` over the k largest
    of n norms (``norms``), for :math:`P(X > x) \sim x^{-\alpha}`. Below 2 the noise has
    infinite variance. Light tails give large numbers.

    Args:
      norms: noise of n examples or batches, ``(n,)``, such as
        ``GradientSample.noise_norms``.
      share: k / n, in (0, 1).

    Returns:
      An ``Estimate``, dimensionless. Its interval is
      :math:`\hat\alpha (1 \pm 1.96 / \sqrt k)`.

    Raises:
      ValueError: ``share`` lies outside its range; ``norms`` has not one axis; or n is
        too small for two norms in the tail.

    Cost:
      It sorts the norms and evaluates no loss.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import tail_index
      >>> u = (jnp.arange(1000) + 0.5) / 1000
      >>> print(f"{tail_index(u ** (-1 / 1.5)).value:.1f}")  # Pareto, index 1.5
      1.5

    Reference:
      Hill, 1975; Simsekli, Sagun and Gurbuzbalaban, 2019, arXiv:1901.06053, for
      gradient noise.
    """
    checks.require("share", share, "(0, 1)")
    arrays.require_vector("norms", norms)
    k = int(share * len(norms))
    if k < 2:
        raise ValueError(
            f"share must leave >= 2 of the {len(norms)} norms, got {share}"
        )
    ranked = jnp.sort(norms)[::-1]
    logs = jnp.log(ranked[:k] / ranked[k])
    index = k / jnp.sum(logs)
    # Such logarithms are about exponential: the mean of k has the error 1 / sqrt(k).
    margin = NORMAL_95 / jnp.sqrt(k)
    return Estimate(index, index * (1 - margin), index * (1 + margin))
