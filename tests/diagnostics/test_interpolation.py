"""Distance from interpolation and the curvature along a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.diagnostics import distance_from_interpolation, smoothness_along


def test_share_of_the_first_loss_above_the_bound():
    first, now = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0])
    np.testing.assert_allclose(distance_from_interpolation(first, now).value, 3 / 8)
    found = distance_from_interpolation(first, now, lower_bound=-1.0)
    np.testing.assert_allclose(found.value, 5 / 10)


@pytest.mark.slow
def test_its_interval_covers_the_ratio_of_means():
    """Exponential losses of means 2 and 1; 95 % nominally."""
    draws = jax.random.exponential(jax.random.key(0), (200, 2, 400))
    found = jax.vmap(lambda d: distance_from_interpolation(2 * d[0], d[1]))(draws)
    inside = (found.low <= 0.5) & (0.5 <= found.high)
    assert 180 <= inside.sum() <= 198


def test_smoothness_is_the_curvature_of_a_quadratic_along_the_step():
    a, w, d = jnp.array([1.0, 4.0]), jnp.array([3.0, -1.0]), jnp.array([1.0, 2.0])
    found = smoothness_along(lambda w: 0.5 * jnp.sum(a * w**2), w, d)
    np.testing.assert_allclose(found, (d @ (a * d)) / (d @ d), rtol=1e-5)
    assert jnp.isnan(smoothness_along(lambda w: jnp.sum(w**2), w, 0 * d))


def test_integer_leaves_stay_fixed():
    """A table to look up in, beside the weights."""
    params = {"w": jnp.array([1.0, 2.0]), "rows": jnp.array([1, 1])}
    step = {"w": jnp.array([1.0, 1.0]), "rows": jnp.array([1, 1])}

    def loss(p):
        return jnp.sum(p["w"][p["rows"]] ** 2)

    np.testing.assert_allclose(smoothness_along(loss, params, step), 2.0)


def test_refusals():
    with pytest.raises(ValueError, match=r"values must have the shape .* \(4,\)"):
        distance_from_interpolation(jnp.ones(4), jnp.ones(1))
    with pytest.raises(ValueError, match="initial_values must have one axis"):
        distance_from_interpolation(jnp.ones((4, 1)), jnp.ones((4, 1)))
    with pytest.raises(ValueError, match=r"step must have the shape of params, \(3,\)"):
        smoothness_along(jnp.sum, jnp.ones(3), jnp.ones(()))
    with pytest.raises(ValueError, match="step must have the structure of params"):
        smoothness_along(jnp.sum, jnp.ones(3), {"w": jnp.ones(3)})
