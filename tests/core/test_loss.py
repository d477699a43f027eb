"""Gradients of a user's loss, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls._core.loss import grad_of


@pytest.mark.parametrize("aux", [False, True])
def test_the_aux_is_dropped(aux):
    def loss(w):
        value = jnp.sum(jnp.cos(w))
        return (value, {"aux": w}) if aux else value

    w = jnp.array([0.3, -1.0, 2.0])
    for gradient in (grad_of(loss), jax.jit(grad_of(loss))):
        np.testing.assert_allclose(gradient(w), -jnp.sin(w), rtol=1e-6)


def test_integer_leaves_have_no_gradient():
    p = {"n": jnp.array(2), "w": jnp.array([1.0, -2.0])}
    grad = grad_of(lambda p: p["n"] * jnp.sum(p["w"] ** 3))(p)
    assert grad["n"] == 0 and grad["n"].dtype == p["n"].dtype
    np.testing.assert_allclose(grad["w"], 6 * p["w"] ** 2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_every_leaf_keeps_its_dtype(dtype):
    p = {"a": jnp.array([1.0, 2.0], dtype), "b": jnp.array(3.0)}
    grad = grad_of(lambda p: jnp.sum(p["a"].astype(jnp.float32) ** 2) * p["b"])(p)
    assert grad["a"].dtype == dtype and grad["b"].dtype == jnp.float32
    np.testing.assert_allclose(grad["a"].astype(jnp.float32), [6.0, 12.0])
    assert grad["b"] == 5.0


def test_complex_gradients_are_conjugates_of_the_ascent_direction():
    a = jnp.array([[2.0, 1.0 - 1.0j], [1.0 + 1.0j, 3.0]])

    def loss(w):
        return jnp.real(jnp.vdot(w, a @ w)) + jnp.sum(jnp.abs(w) ** 4)

    def stacked(x):
        return loss(x[:2] + 1j * x[2:])

    w = jnp.array([1.0 + 0.5j, -1.0j])
    split = jnp.concatenate([w.real, w.imag])
    ascent = jnp.conj(grad_of(loss)(w))
    np.testing.assert_allclose(
        jnp.concatenate([ascent.real, ascent.imag]),
        jax.grad(stacked)(split),
        rtol=1e-5,
    )
