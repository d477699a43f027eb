"""The tree of sums: its sums, what a draw finds, and that weights can be replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.linear._finite_sums import sums


def weights_of(size):
    weights = np.random.default_rng(size).uniform(0, 1, size) ** 4
    weights[1::3] = 0
    return weights.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 8, 9, 100])
def test_a_share_of_the_total_finds_the_index_at_which_the_sums_pass_it(size):
    weights = weights_of(size)
    tree = sums.sums_of(jnp.asarray(weights))
    shares = (np.arange(2000) + 0.5) / 2000
    found = jax.vmap(lambda share: sums.drawn(tree, share))(jnp.asarray(shares))
    ends = np.cumsum(weights.astype(np.float64))
    wanted = np.searchsorted(ends, shares * ends[-1], side="right")
    # Where a share falls on an end, rounding decides.
    assert np.mean(np.asarray(found) != wanted) < 2e-3
    assert (weights[found] > 0).all()


def test_the_largest_share_below_1_finds_the_last_weight_above_0():
    for size in (3, 12, 70):
        tree = sums.sums_of(jnp.asarray(weights_of(size)).at[-2:].set(0))
        last = np.flatnonzero(weights_of(size)[:-2])[-1]
        assert sums.drawn(tree, np.nextafter(np.float32(1), np.float32(0))) == last
        assert sums.drawn(tree, 0.0) == 0


def test_replaced_weights_leave_the_tree_that_they_would_have_built():
    """To the last bit, so that no error adds up."""
    rng = np.random.default_rng(0)
    weights = weights_of(70)
    tree = sums.sums_of(jnp.asarray(weights))
    replaced = jax.jit(sums.replaced)
    for _ in range(50):
        at, new = rng.integers(70), np.float32(10 ** rng.uniform(-6, 6))
        weights[at] = new
        tree = replaced(tree, at, new)
    anew = sums.sums_of(jnp.asarray(weights))
    for level, wanted in zip(tree, anew, strict=True):
        np.testing.assert_array_equal(level, wanted)
    np.testing.assert_allclose(sums.total(tree), weights.sum(), rtol=1e-6)
