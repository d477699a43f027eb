"""Zipf exponents of drawn labels, and groups of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaxls.diagnostics import frequency_groups, label_tail, loss_by_frequency


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_the_exponent_of_drawn_labels(exponent):
    """Classes in no order, 4000 draws among 50, ten seeds: 95 % nominally.

    Ranking makes balanced draws look steep (0.10 here); that is taken off.
    """
    shuffled = jax.random.permutation(jax.random.key(9), 50)
    logits = -exponent * jnp.log(1.0 + shuffled)
    inside, values = 0, []
    for seed in range(10):
        labels = jax.random.categorical(jax.random.key(seed), logits, shape=(4000,))
        found = label_tail(labels, 50).zipf_exponent
        values.append(float(found.value))
        inside += bool(found.low - 1e-6 <= exponent <= found.high + 1e-6)
    assert inside >= 8
    assert abs(np.mean(values) - exponent) < 0.03


@pytest.mark.slow
def test_classes_that_do_not_occur_have_no_rank():
    labels = jnp.repeat(jnp.arange(3), jnp.array([60, 30, 20]))
    few, many = label_tail(labels, 3), label_tail(labels, 100)
    np.testing.assert_allclose(
        few.zipf_exponent.value, many.zipf_exponent.value, atol=0.1
    )
    assert few.rare_mass == many.rare_mass == 0
    np.testing.assert_array_equal(many.counts[:4], [60, 30, 20, 0])


@pytest.mark.slow
def test_mass_of_rare_classes():
    labels = jnp.repeat(jnp.arange(3), jnp.array([100, 11, 10]))
    np.testing.assert_allclose(label_tail(labels, 3).rare_mass, 10 / 121, rtol=1e-6)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    # Few lengths, because each compiles anew.
    st.sampled_from([2, 7, 30]).flatmap(
        lambda n: st.lists(st.integers(0, 1000), min_size=n, max_size=n)
    ),
    st.integers(1, 6),
)
def test_groups_are_ordered_by_frequency_and_of_like_mass(counts, num_groups):
    groups = np.asarray(frequency_groups(jnp.array(counts), num_groups))
    assert groups.min() >= 0 and groups.max() < num_groups
    order = np.argsort(-np.array(counts), kind="stable")
    assert (np.diff(groups[order]) >= 0).all()
    # No group but the last overshoots its share by more than one class.
    for group in range(num_groups):
        mine = [c for c, g in zip(counts, groups, strict=True) if g == group]
        if mine:
            assert sum(mine) - mine[0] <= sum(counts) / num_groups + max(mine)


def test_loss_by_frequency_is_the_mean_of_the_group():
    values, labels = jnp.array([1.0, 2.0, 6.0, 9.0]), jnp.array([0, 0, 1, 2])
    found = loss_by_frequency(values, labels, jnp.array([0, 1, 1]), 3)
    np.testing.assert_allclose(found, [1.5, 7.5, np.nan])


def test_refusals():
    with pytest.raises(ValueError, match="num_classes must be an integer >= 2, got 1"):
        label_tail(jnp.zeros(3, int), 1)
    with pytest.raises(ValueError, match="num_groups must be an integer >= 1, got 0"):
        frequency_groups(jnp.ones(3), 0)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), .* 0 to 3"):
        label_tail(jnp.arange(4), 3)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), .* -1 to 1"):
        label_tail(jnp.arange(3) - 1, 3)
    with pytest.raises(ValueError, match="labels must be integers, got float32"):
        label_tail(jnp.ones(4), 3)
    with pytest.raises(ValueError, match="labels must not be empty"):
        label_tail(jnp.zeros(0, int), 3)
    with pytest.raises(ValueError, match="counts must have one axis"):
        frequency_groups(jnp.ones((3, 2)))


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"labels": [0, 1]}, r"labels must have the shape of values, \(3,\)"),
        ({"labels": [0, 1, 2]}, r"labels must lie in \[0, 2\)"),
        ({"groups": [0, 2]}, r"groups must lie in \[0, 2\)"),
        ({"groups": [0.0, 1.0]}, "groups must be integers"),
        ({"values": [[1.0], [2.0], [3.0]]}, "values must have one axis"),
        ({"num_groups": 0}, "num_groups must be an integer >= 1, got 0"),
    ],
)
def test_arrays_that_do_not_belong_together(change, complaint):
    """JAX would read the last class instead, drop the group, or broadcast."""
    given = {"values": [1.0, 2.0, 3.0], "labels": [0, 0, 1], "groups": [0, 1]}
    given |= change
    num_groups = given.pop("num_groups", 2)
    arrays = {key: jnp.array(value) for key, value in given.items()}
    with pytest.raises(ValueError, match=complaint):
        loss_by_frequency(**arrays, num_groups=num_groups)


def test_classes_without_examples_are_in_one_group():
    np.testing.assert_array_equal(frequency_groups(jnp.zeros(3)), [0, 0, 0])
