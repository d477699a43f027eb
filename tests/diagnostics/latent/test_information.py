"""The missing information, where it is known, and as the rate of EM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.diagnostics import missing_information


@pytest.mark.slow
def test_shares_and_the_slowest_direction_of_means_seen_in_part():
    """Of each coordinate so many draws were seen and so many were not."""
    seen, unseen = jnp.array([8.0, 1.0, 5.0]), jnp.array([2.0, 3.0, 0.0])

    def expected(w, at):
        w, at = w["mean"], at["mean"]
        return jnp.sum(seen * (w - 1) ** 2 + unseen * (w - at) ** 2) / 2

    found = missing_information(expected, {"mean": jnp.ones(3)})
    np.testing.assert_allclose(found.shares, [0.75, 0.2, 0.0], atol=1e-6)
    assert found.rate == found.shares[0]
    np.testing.assert_allclose(np.abs(found.slowest["mean"]), [0, 1, 0], atol=1e-6)


def mixture(x):
    """Expected loss, and a step of EM, of Gaussians with unknown centres."""

    def log_joint(w):
        return -((x[:, None] - w) ** 2) / 2

    def expected(w, at):
        return -jnp.mean(jnp.sum(jax.nn.softmax(log_joint(at)) * log_joint(w), 1))

    def em(w):
        found = jax.nn.softmax(log_joint(w))
        return found.T @ x / found.sum(0)

    return expected, em


@pytest.mark.slow
def test_is_the_derivative_of_a_step_of_em_at_its_limit():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1, 1, 60), rng.normal(1.5, 1, 40)])
    with jax.enable_x64(True):
        expected, em = mixture(jnp.asarray(x))
        limit = jax.lax.fori_loop(0, 500, lambda _, w: em(w), jnp.array([-1.0, 1.0]))
        found = jax.jit(lambda w: missing_information(expected, w))(limit)
        step = np.linalg.eigvals(np.asarray(jax.jit(jax.jacobian(em))(limit)))
        np.testing.assert_allclose(found.shares, np.sort(step)[::-1], rtol=1e-8)

        # The same in other coordinates.
        def bent_loss(w, at):
            return expected(jnp.sinh(w), jnp.sinh(at))

        inner = jnp.arcsinh(limit)
        bent = jax.jit(lambda w: missing_information(bent_loss, w))(inner)
        np.testing.assert_allclose(bent.shares, found.shares, rtol=1e-8)
    assert 0 < float(found.rate) < 1


def test_is_not_known_where_the_complete_information_is_not_positive():
    found = missing_information(lambda w, at: -jnp.sum(w**2), jnp.ones(2))
    assert np.isnan(found.rate)


@pytest.mark.parametrize("params", [{}, jnp.arange(3), {"a": 1.0, "b": 1j}])
def test_refuses_params_that_are_not_real(params):
    with pytest.raises(TypeError, match="params must be floating-point arrays"):
        missing_information(lambda w, at: 0.0, params)
