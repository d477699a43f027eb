"""The tail of the labels, and the loss of classes by their frequency."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.diagnostics._estimate import NORMAL_95, Estimate

_RARE = 0.1
_LARGEST_EXPONENT = 8.0
# Draws of the counts, under exponents as far as this from the fit.
_SIMULATIONS, _REACH, _GRID = 32, 0.4, 33


class LabelTail(NamedTuple):
    """How classes share the examples.

    Attributes:
      counts: examples of each class, most frequent first, ``(classes,)``.
      zipf_exponent: s of the fit ``frequency ~ rank^-s``: 0 balanced, 1 words.
      rare_mass: share of the examples whose class is at most a tenth as frequent as
        the most frequent one, in [0, 1].
    """

    counts: jax.Array
    zipf_exponent: Estimate
    rare_mass: jax.Array


def _exponent(counts: jax.Array, seen: jax.Array) -> jax.Array:
    """Most likely s of ``p_k ~ k^-s`` for sorted counts: matches the mean log rank."""
    log_rank = jnp.log(jnp.arange(1, len(counts) + 1))
    target = jnp.sum(counts * log_rank) / jnp.sum(counts)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]):
        low, high = bounds
        middle = (low + high) / 2
        logits = jnp.where(seen, -middle * log_rank, -jnp.inf)
        too_flat = jnp.sum(jax.nn.softmax(logits) * log_rank) > target
        return jnp.where(too_flat, middle, low), jnp.where(too_flat, high, middle)

    start = (jnp.zeros(()), jnp.full((), _LARGEST_EXPONENT))
    return jnp.mean(jnp.stack(jax.lax.fori_loop(0, 18, halve, start)))


@jax.jit
def _zipf_exponent(counts: jax.Array, seed: jax.Array) -> Estimate:
    """The exponents under which ranked counts like these are drawn."""
    seen = counts > 0
    observed = _exponent(counts, seen)
    log_rank = jnp.log(jnp.arange(1, len(counts) + 1))
    grid = jnp.maximum(observed + jnp.linspace(-_REACH, _REACH, _GRID), 0)
    draws = jax.random.normal(jax.random.key(seed), (_SIMULATIONS, len(counts)))

    def refitted(exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = jnp.where(seen, -exponent * log_rank, -jnp.inf)
        mean = counts.sum() * jax.nn.softmax(logits)
        # The same draws for every exponent, so that the answer is smooth in it.
        drawn = jnp.maximum(mean + jnp.sqrt(mean) * draws, 0)
        fits = jax.vmap(_exponent, (0, None))(jnp.sort(drawn, -1)[:, ::-1], seen)
        return fits.mean(), fits.std()

    means, errors = jax.lax.map(refitted, grid)
    error = jnp.interp(observed, means, errors)
    found = [
        jnp.interp(observed + z * error, means, grid)
        for z in (0, -NORMAL_95, NORMAL_95)
    ]
    return Estimate(*found)


def label_tail(labels: jax.Array, num_classes: int, *, seed: int = 0) -> LabelTail:
    r"""Class frequencies and their Zipf exponent.

    Most likely s of :math:`\pi_k \propto k^{-s}` over the ranks of the classes seen.
    Ranking by observed counts makes the tail too steep; counts drawn under other
    exponents tell which ones give a fit like this, and the interval.

    Args:
      labels: integers in [0, num_classes), any shape.
      num_classes: >= 2.
      seed: of the draws.

    Returns:
      A ``LabelTail``.

    Raises:
      ValueError: ``num_classes`` lies outside its range.

    Cost:
      No pass; a thousand draws of the counts.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import label_tail
      >>> labels = jnp.repeat(jnp.arange(4), jnp.array([600, 300, 200, 150]))
      >>> tail = label_tail(labels, 4)  # 600 / rank
      >>> print(f"{tail.zipf_exponent.value:.1f} {tail.rare_mass:.1f}")
      1.0 0.0

    Reference:
      Kunstner et al., 2024, arXiv:2402.19449, for why the tail matters.
    """
    checks.require_integer("num_classes", num_classes, 2)
    counts = jnp.sort(jnp.bincount(labels.ravel(), length=num_classes))[::-1]
    counts = counts.astype(jnp.float32)
    share = jnp.sum(jnp.where(counts <= _RARE * counts[0], counts, 0)) / counts.sum()
    return LabelTail(counts, _zipf_exponent(counts, jnp.asarray(seed)), share)


def frequency_groups(counts: jax.Array, num_groups: int = 4) -> jax.Array:
    """Groups of classes that hold about as many examples each, most frequent first.

    Args:
      counts: examples of each class in the order of the labels, ``(classes,)``.
      num_groups: >= 1.

    Returns:
      The group of each class, ``(classes,)``, int32 in [0, num_groups). A class that
      is larger than a share leaves groups behind it empty.

    Raises:
      ValueError: ``num_groups`` lies outside its range.

    Cost:
      No pass.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import frequency_groups
      >>> print(frequency_groups(jnp.array([10, 50, 15, 25]), 2))
      [1 0 1 1]

    Reference:
      Kunstner et al., 2024, arXiv:2402.19449, figure 1.
    """
    checks.require_integer("num_groups", num_groups, 1)
    order = jnp.argsort(-counts)
    ranked = counts[order].astype(jnp.float32)
    before = (jnp.cumsum(ranked) - ranked) / ranked.sum()
    group = jnp.minimum((num_groups * before).astype(jnp.int32), num_groups - 1)
    return jnp.zeros_like(group).at[order].set(group)


def loss_by_frequency(
    values: jax.Array, labels: jax.Array, groups: jax.Array, num_groups: int
) -> jax.Array:
    """Mean loss of the examples of each group of classes.

    Args:
      values: losses, ``(n,)``.
      labels: classes, ``(n,)``.
      groups: of each class, from ``frequency_groups``.
      num_groups: of them.

    Returns:
      ``(num_groups,)``, loss units; NaN for a group without examples.

    Cost:
      No pass.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import loss_by_frequency
      >>> values, labels = jnp.array([1.0, 3.0, 5.0]), jnp.array([0, 0, 1])
      >>> print(loss_by_frequency(values, labels, jnp.array([0, 1]), 2))
      [2. 5.]

    Reference:
      Kunstner et al., 2024, arXiv:2402.19449, figure 1.
    """
    belongs = groups[labels]
    sums = jax.ops.segment_sum(values, belongs, num_groups)
    return sums / jax.ops.segment_sum(jnp.ones_like(values), belongs, num_groups)
