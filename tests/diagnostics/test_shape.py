"""Likeness to a sign, and Hill's estimate of known tails."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxls.diagnostics import sign_likeness, tail_index


def test_sign_likeness_is_the_cosine_with_the_sign():
    update = {"a": jnp.array([1.0, -3.0]), "b": jnp.array([[0.5]])}
    flat = np.array([1.0, -3.0, 0.5])
    cosine = flat @ np.sign(flat) / (np.linalg.norm(flat) * np.sqrt(3))
    np.testing.assert_allclose(sign_likeness(update), cosine, rtol=1e-6)


def test_normal_numbers_have_the_root_of_two_over_pi():
    update = jax.random.normal(jax.random.key(0), (100_000,))
    np.testing.assert_allclose(sign_likeness(update), (2 / np.pi) ** 0.5, atol=3e-3)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_does_not_matter(unit):
    """Squares of 1e-30 vanish in float32."""
    np.testing.assert_allclose(sign_likeness(unit * jnp.array([1.0, 1.0])), 1.0)
    assert sign_likeness(jnp.zeros(3)) == 0.0


def test_the_first_step_of_adam_is_a_sign():
    adam = optax.scale_by_adam()
    grads = jnp.array([1e-3, -5.0, 2.0])
    update, _ = adam.update(grads, adam.init(grads))
    np.testing.assert_allclose(sign_likeness(update), 1.0, rtol=1e-4)


@pytest.mark.parametrize("index", [0.7, 1.5, 3.0])
def test_hill_covers_the_index_of_pareto_draws(index):
    u = jax.random.uniform(jax.random.key(1), (40, 2000), minval=1e-7)
    found = jax.vmap(tail_index)(u ** (-1 / index))
    inside = (found.low <= index) & (index <= found.high)
    assert inside.sum() >= 34


def test_light_tails_have_large_indices():
    norms = jnp.linalg.norm(jax.random.normal(jax.random.key(2), (2000, 50)), axis=1)
    assert tail_index(norms).low > 10


def test_refusals():
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), got 1"):
        tail_index(jnp.ones(100), 1.0)
    with pytest.raises(ValueError, match="share must leave >= 2 of the 10 norms"):
        tail_index(jnp.ones(10), 0.1)
