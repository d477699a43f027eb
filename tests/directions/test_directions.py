"""Directions before a search: closed forms, and what a bad batch may do to them."""

import jax.numpy as jnp
import optax
import pytest

import optaxls

INF, NAN = float("inf"), float("nan")


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
