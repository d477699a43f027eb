"""The likeness of an update to its sign."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxls.diagnostics import sign_likeness


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


def test_an_update_without_numbers_is_refused():
    with pytest.raises(ValueError, match="update must have a floating-point array"):
        sign_likeness({"step": jnp.arange(3)})
