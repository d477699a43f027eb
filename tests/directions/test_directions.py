"""Directions before a search: closed forms, and what a bad batch may do to them."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls

INF, NAN = float("inf"), float("nan")


def masked(direction, grad):
    tx = optaxls.cautious()
    updates, _ = tx.update(direction, tx.init(direction), direction, grad=grad)
    return updates


numbers = st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(numbers, st.integers(0, 99))
def test_cautious_keeps_what_descends_and_makes_up_for_the_rest(direction, seed):
    d = np.array(direction, np.float32)
    g = np.random.default_rng(seed).standard_normal(len(d)).astype(np.float32)
    keep = d * g < 0
    share = keep.sum() / max((d != 0).sum(), 1)
    wanted = np.where(keep, d, 0) / max(share, 0.1)
    found = np.asarray(masked(jnp.array(d), jnp.array(g)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found @ g <= 0


def test_cautious_counts_over_the_whole_tree_and_leaves_integers_alone():
    d = {"a": jnp.array([1.0, 1.0, 1.0], jnp.bfloat16), "b": jnp.array([2.0 + 1.0j])}
    d |= {"count": jnp.array([3]), "none": None}
    g = {"a": jnp.array([1.0, 1.0, -1.0], jnp.bfloat16), "b": jnp.array([-1.0 + 1.0j])}
    g |= {"count": jnp.array([0]), "none": None}
    found = masked(d, g)
    # Re(d g) of "b" is -3: two of four are kept.
    np.testing.assert_allclose(found["a"].astype(jnp.float32), [0, 0, 2])
    assert found["b"].tolist() == [4 + 2j]
    assert found["a"].dtype == jnp.bfloat16 and found["count"].tolist() == [0]


def test_cautious_of_a_gradient_that_is_not_finite_is_no_worse_than_it():
    assert masked(jnp.array([1.0, 1.0]), jnp.array([NAN, -1.0])).tolist() == [0.0, 2.0]


def guarded_steps(factors, value=1.0):
    """The traces of ``guarded(trace(0.5))`` over multiples of one gradient."""
    tx = optaxls.guarded(optax.trace(0.5))
    w, traces = jnp.array([3.0, 4.0]), []
    state = tx.init(w)
    for factor in factors:
        updates, state = tx.update(factor * w, state, w, value=jnp.array(value))
        traces.append(state.direction.trace[0].item())
        assert jnp.all(jnp.isfinite(updates))
    return traces


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_gradient_that_is_not_finite_leaves_the_direction_as_it_was(bad):
    before, after, later = guarded_steps([1.0, bad, 1.0])
    assert before == after == 3.0 and later == 4.5


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_loss_that_is_not_finite_leaves_the_direction_as_it_was(bad):
    assert guarded_steps([1.0], value=bad) == [0.0]


def test_an_exploded_gradient_enters_as_ten_usual_ones():
    exploded = guarded_steps([1.0, 1.0, 1e9])
    assert exploded[-1] == pytest.approx(0.5 * exploded[-2] + 30.0, rel=1e-5)
    plain = guarded_steps([1.0, 1.0, 9.9])
    assert plain[-1] == pytest.approx(0.5 * plain[-2] + 29.7, rel=1e-5)


def test_cautious_compares_signs_and_not_products():
    """1e-25 squared is 0 in float32."""
    tx, d = optaxls.cautious(), jnp.array([-1e-25, 1e-25])
    updates, _ = tx.update(d, tx.init(d), d, grad=jnp.abs(d))
    np.testing.assert_allclose(jnp.asarray(updates), [-2e-25, 0.0], rtol=1e-6)
