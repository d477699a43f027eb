"""How unevenly classes occur, and how the loss depends on their frequency."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics._shared.intervals import NORMAL_95
from optaxls.diagnostics.estimate import Estimate

# A class is rare if it is at most this share as frequent as the most frequent one.
_RARE = 0.1
_LARGEST_EXPONENT = 8.0
# Counts are simulated for 33 exponents, up to 0.4 away from the fitted one.
_SIMULATIONS, _REACH, _GRID = 32, 0.4, 33


class LabelTail(NamedTuple):
    """How the examples are distributed over the classes.

    Attributes:
      counts: examples of each class, most frequent first, ``(classes,)``.
      zipf_exponent: s of the fit ``frequency ~ rank^-s``. It is 0 for balanced classes
        and about 1 for words.
      rare_mass: share of the examples in rare classes, in [0, 1]. A class is rare if
        it is at most a tenth as frequent as the most frequent one.
    """

    counts: jax.Array
    zipf_exponent: Estimate
    rare_mass: jax.Array


def _exponent(counts: jax.Array, occurs: jax.Array) -> jax.Array:
    """The most likely s of ``p_k ~ k^-s``, for counts in descending order.

    Its likelihood is largest where the mean log rank is that of the counts.
    """
    log_rank = jnp.log(jnp.arange(1, len(counts) + 1))
    target = jnp.sum(counts * log_rank) / jnp.sum(counts)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]):
        low, high = bounds
        middle = (low + high) / 2
        logits = jnp.where(occurs, -middle * log_rank, -jnp.inf)
        too_flat = jnp.sum(jax.nn.softmax(logits) * log_rank) > target
        return jnp.where(too_flat, middle, low), jnp.where(too_flat, high, middle)

    # 18 halvings of [0, 8] leave an error of 3e-5, far below that of sampling.
    start = (jnp.zeros(()), jnp.full((), _LARGEST_EXPONENT))
    return jnp.mean(jnp.stack(jax.lax.fori_loop(0, 18, halve, start)))


@jax.jit
def _zipf_exponent(counts: jax.Array, seed: jax.Array) -> Estimate:
    """The exponents under which ranked counts like these are likely."""
    occurs = counts > 0
    observed = _exponent(counts, occurs)
    log_rank = jnp.log(jnp.arange(1, len(counts) + 1))
    # Below 0 the ranks would be reversed.
    grid = jnp.maximum(observed + jnp.linspace(-_REACH, _REACH, _GRID), 0)
    draws = jax.random.normal(jax.random.key(seed), (_SIMULATIONS, len(counts)))

    def refitted(exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = jnp.where(occurs, -exponent * log_rank, -jnp.inf)
        # Poisson counts, approximated by normal ones, then ranked as labels are.
        mean = counts.sum() * jax.nn.softmax(logits)
        # One set of draws for all exponents, so that the means are smooth in them.
        drawn = jnp.maximum(mean + jnp.sqrt(mean) * draws, 0)
        fits = jax.vmap(_exponent, (0, None))(jnp.sort(drawn, -1)[:, ::-1], occurs)
        return fits.mean(), fits.std()

    means, errors = jax.lax.map(refitted, grid)
    error = jnp.interp(observed, means, errors)
    # Read backwards: which true exponent gives this fit on average?
    exponents = [
        jnp.interp(observed + z * error, means, grid)
        for z in (0, -NORMAL_95, NORMAL_95)
    ]
    return Estimate(*exponents)


def label_tail(labels: jax.Array, num_classes: int, *, seed: int = 0) -> LabelTail:
    r"""Counts the classes and estimates how steeply their frequencies fall.

    It fits the most likely s of :math:`\pi_k \propto k^{-s}` over the ranks k of the
    classes that occur. Ranks by observed counts make the tail look too steep. To
    correct this, counts are simulated under neighbouring exponents. The simulations
    give the interval too.

    Args:
      labels: integers in [0, ``num_classes``), any shape.
      num_classes: >= 2.
      seed: seed of the simulated counts.

    Returns:
      A ``LabelTail``.

    Raises:
      ValueError: ``num_classes`` lies outside its range; ``labels`` is empty, or not of
        integers in [0, ``num_classes``) as far as they are known (not under ``jit``).

    Cost:
      It evaluates no loss, and draws the counts a thousand times.

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
    arrays.require_classes("labels", labels, num_classes)
    if not jnp.size(labels):
        raise ValueError("labels must not be empty")
    # ``bincount`` drops classes beyond the length and counts negative ones as 0.
    counts = jnp.bincount(jnp.ravel(labels), length=num_classes)
    counts = jnp.sort(counts)[::-1]
    counts = counts.astype(jnp.float32)
    share = jnp.sum(jnp.where(counts <= _RARE * counts[0], counts, 0)) / counts.sum()
    return LabelTail(counts, _zipf_exponent(counts, jnp.asarray(seed)), share)


def frequency_groups(counts: jax.Array, num_groups: int = 4) -> jax.Array:
    """Divides classes by frequency into groups with about as many examples each.

    Args:
      counts: examples of each class in the order of the labels, ``(classes,)``.
      num_groups: >= 1.

    Returns:
      The group of each class, ``(classes,)``, int32 in [0, ``num_groups``). Group 0 has
      the most frequent classes. A very large class leaves the next groups empty.

    Raises:
      ValueError: ``num_groups`` lies outside its range; ``counts`` has not one axis.

    Cost:
      It evaluates no loss.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import frequency_groups
      >>> print(frequency_groups(jnp.array([10, 50, 15, 25]), 2))
      [1 0 1 1]

    Reference:
      Kunstner et al., 2024, arXiv:2402.19449, figure 1.
    """
    checks.require_integer("num_groups", num_groups, 1)
    arrays.require_vector("counts", counts)
    counts = jnp.asarray(counts, jnp.float32)
    order = jnp.argsort(-counts)
    ranked = counts[order]
    # Without any example this is 0 / 0, and XLA turns NaN into group 0.
    before = (jnp.cumsum(ranked) - ranked) / ranked.sum()
    # A class belongs where its first example would be, in order of frequency.
    group = jnp.minimum((num_groups * before).astype(jnp.int32), num_groups - 1)
    return jnp.zeros_like(group).at[order].set(group)


def loss_by_frequency(
    values: jax.Array, labels: jax.Array, groups: jax.Array, num_groups: int
) -> jax.Array:
    """Averages the loss over the examples of each group of classes.

    Args:
      values: losses of n examples, ``(n,)``.
      labels: their classes, ``(n,)``, integers in [0, classes).
      groups: the group of each class, ``(classes,)``, from ``frequency_groups``.
      num_groups: >= 1, how many groups there are.

    Returns:
      ``(num_groups,)``, loss units; NaN for a group without examples.

    Raises:
      ValueError: ``labels`` are not as many as ``values``; a label or a group lies
        outside its range, as far as they are known (not under ``jit``).

    Cost:
      It evaluates no loss.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import loss_by_frequency
      >>> values, labels = jnp.array([1.0, 3.0, 5.0]), jnp.array([0, 0, 1])
      >>> print(loss_by_frequency(values, labels, jnp.array([0, 1]), 2))
      [2. 5.]

    Reference:
      Kunstner et al., 2024, arXiv:2402.19449, figure 1.
    """
    checks.require_integer("num_groups", num_groups, 1)
    arrays.require_vector("values", values)
    arrays.require_vector("groups", groups)
    arrays.require_like("labels", labels, "values", values)
    # An index beyond the end would read the last class, a group beyond it be dropped.
    arrays.require_classes("labels", labels, len(groups))
    arrays.require_classes("groups", groups, num_groups)
    of_example = jnp.asarray(groups)[jnp.asarray(labels)]
    sums = jax.ops.segment_sum(values, of_example, num_groups)
    return sums / jax.ops.segment_sum(jnp.ones_like(values), of_example, num_groups)
