"""Gradients and Hessian products of a user's loss, against dense ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls._core.loss import grad_of, hvp_of

KEY = jax.random.key(3)
M = jax.random.normal(KEY, (3, 3))


def rosenbrock(w):
    return jnp.sum(jnp.cos(M @ w) + (w @ w) ** 2 * 0.1)


@pytest.mark.parametrize("aux", [False, True])
def test_products_are_those_of_the_dense_hessian(aux):
    def loss(w):
        return (rosenbrock(w), {"aux": w}) if aux else rosenbrock(w)

    w, v = jnp.array([0.3, -1.0, 2.0]), jnp.array([1.0, 0.5, -2.0])
    hessian = jax.hessian(rosenbrock)(w)
    np.testing.assert_allclose(hvp_of(loss)(w, v), hessian @ v, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grad_of(loss)(w), jax.grad(rosenbrock)(w), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jit(hvp_of(loss))(w, v), hessian @ v, rtol=1e-4, atol=1e-4
    )


def test_integer_leaves_have_no_curvature():
    def loss(p):
        return p["n"] * jnp.sum(p["w"] ** 3)

    p = {"n": jnp.array(2), "w": jnp.array([1.0, -2.0])}
    v = {"n": jnp.array(5), "w": jnp.array([1.0, 1.0])}
    product = hvp_of(loss)(p, v)
    assert product["n"] == 0 and product["n"].dtype == p["n"].dtype
    np.testing.assert_allclose(product["w"], 12 * p["w"])
    grad = grad_of(loss)(p)
    assert grad["n"] == 0 and grad["n"].dtype == p["n"].dtype
    np.testing.assert_allclose(grad["w"], 6 * p["w"] ** 2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_every_leaf_keeps_its_dtype(dtype):
    p = {"a": jnp.array([1.0, 2.0], dtype), "b": jnp.array(3.0)}
    v = {"a": jnp.array([1.0, -1.0]), "b": jnp.array(1.0, dtype)}

    def loss(p):
        return jnp.sum(p["a"].astype(jnp.float32) ** 2) * p["b"]

    product = hvp_of(loss)(p, v)
    assert product["a"].dtype == dtype and product["b"].dtype == jnp.float32
    np.testing.assert_allclose(product["a"].astype(jnp.float32), [8.0, -2.0])
    assert product["b"] == -2.0


def test_complex_products_are_those_of_the_real_and_imaginary_parts():
    """The derivative of the ascent direction along a complex vector."""
    a = jnp.array([[2.0, 1.0 - 1.0j], [1.0 + 1.0j, 3.0]])

    def loss(w):
        return jnp.real(jnp.vdot(w, a @ w)) + jnp.sum(jnp.abs(w) ** 4)

    def stacked(x):
        return loss(x[:2] + 1j * x[2:])

    w, v = jnp.array([1.0 + 0.5j, -1.0j]), jnp.array([0.5 - 2.0j, 1.0 + 1.0j])

    def split(z):
        return jnp.concatenate([z.real, z.imag])

    dense = jax.hessian(stacked)(split(w)) @ split(v)
    np.testing.assert_allclose(split(hvp_of(loss)(w, v)), dense, rtol=1e-4)
    np.testing.assert_allclose(
        split(jnp.conj(grad_of(loss)(w))), jax.grad(stacked)(split(w)), rtol=1e-5
    )
