"""Distance from interpolation and the curvature along a step."""

import jax
import jax.numpy as jnp
import numpy as np

from optaxls.diagnostics import distance_from_interpolation, smoothness_along


def test_share_of_the_first_loss_above_the_bound():
    first, now = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0])
    np.testing.assert_allclose(distance_from_interpolation(first, now).value, 3 / 8)
    found = distance_from_interpolation(first, now, lower_bound=-1.0)
    np.testing.assert_allclose(found.value, 5 / 10)


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
