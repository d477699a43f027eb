"""The shape of updates and of noise: like a sign, and with what tail."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.diagnostics._estimate import NORMAL_95, Estimate


def sign_likeness(update: Any) -> jax.Array:
    r"""The cosine between an update and its sign: :math:`|u|_1 / (\sqrt d\,|u|_2)`.

    Of Adam's :math:`u = m / \sqrt v` it says how near Adam is to sign descent: 1 for a
    sign, 0.80 for normal numbers, small where few coordinates rule.

    Args:
      update: a pytree of d numbers, such as ``mu / sqrt(nu)`` of Adam's state.

    Returns:
      ``()``, in [0, 1]; 0 for an update of 0.

    Cost:
      No pass.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import sign_likeness
      >>> print(sign_likeness(jnp.array([-2.0, 2.0])))
      1.0
      >>> print(sign_likeness(jnp.array([1.0, 0.0, 0.0, 0.0])))
      0.5

    Reference:
      Kunstner et al., 2023, arXiv:2304.13960.
    """
    dtype = trees.scalar_dtype(update)
    leaves = [jnp.abs(leaf).astype(dtype) for leaf in trees.inexact_leaves(update)]
    # Scaled first, so that squares of very small numbers do not vanish.
    largest = jnp.max(jnp.stack([jnp.max(leaf, initial=0) for leaf in leaves]))
    leaves = [leaf / jnp.where(largest > 0, largest, 1) for leaf in leaves]
    length = jnp.sqrt(trees.sqnorm(leaves, dtype))
    size = sum(leaf.size for leaf in leaves)
    total = sum(jnp.sum(leaf) for leaf in leaves)
    # Rounding may say 1.0000001.
    return jnp.minimum(total / jnp.where(length > 0, length * jnp.sqrt(size), 1), 1)


def tail_index(norms: jax.Array, share: float = 0.1) -> Estimate:
    r"""Hill's estimate of the tail index of gradient noise.

    :math:`\hat\alpha = k / \sum_{i \le k} \log(x_{(i)} / x_{(k+1)})` over the k largest
    of n norms, for :math:`P(X > x) \sim x^{-\alpha}`. Below 2 the variance is
    infinite; light tails give large numbers.

    Args:
      norms: of the noise of n examples or batches, ``(n,)``, such as
        ``GradientSample.noise_norms``.
      share: k / n, in (0, 1).

    Returns:
      An ``Estimate``, dimensionless, with the interval
      :math:`\hat\alpha (1 \pm 1.96 / \sqrt k)`.

    Raises:
      ValueError: ``share`` lies outside its range, or n is too small for two norms in
        the tail.

    Cost:
      No pass.

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
    k = int(share * len(norms))
    if k < 2:
        raise ValueError(
            f"share must leave >= 2 of the {len(norms)} norms, got {share}"
        )
    ranked = jnp.sort(norms)[::-1]
    logs = jnp.log(ranked[:k] / ranked[k])
    index = k / jnp.sum(logs)
    margin = NORMAL_95 / jnp.sqrt(k)
    return Estimate(index, index * (1 - margin), index * (1 + margin))
