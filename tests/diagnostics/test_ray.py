"""Where the rules stop along a ray, against a plain search by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.diagnostics import loss_along_ray

A = np.array([1.0, 9.0])
W = np.array([3.0, 1.0])


def quadratic(w):
    return 0.5 * jnp.sum(jnp.asarray(A, jnp.float32) * w**2)


def ray(**more):
    grad = A * W
    sizes = jnp.geomspace(0.01, 2.0, 20)
    w = jnp.asarray(W, jnp.float32)
    return loss_along_ray(quadratic, w, -jnp.asarray(grad, jnp.float32), sizes, **more)


def first_that(holds, start, factor):
    while not holds(start):
        start *= factor
    return start


def phi(step_size):
    return 0.5 * np.sum(A * (W - step_size * A * W) ** 2)


def test_values_and_slope():
    found = ray()
    np.testing.assert_allclose(
        found.values, [phi(s) for s in np.asarray(found.step_sizes)], rtol=1e-4
    )
    np.testing.assert_allclose(found.slope, -np.sum((A * W) ** 2), rtol=1e-6)


@pytest.mark.parametrize("c, factor", [(0.1, 0.9), (0.3, 0.5)])
def test_armijo_is_the_first_step_of_the_grid_that_holds(c, factor):
    slope = -np.sum((A * W) ** 2)
    expected = first_that(lambda s: phi(s) <= phi(0) + c * s * slope, 2.0, factor)
    found = ray(c=c, decrease_factor=factor)
    np.testing.assert_allclose(found.armijo, expected, rtol=1e-5)
    # Goldstein's upper test is the same, its lower one holds this near the longest.
    lower = phi(0) + (1 - c) * expected * slope
    assert phi(expected) >= lower
    np.testing.assert_allclose(found.goldstein, expected, rtol=1e-5)


def test_polyak_is_the_value_over_the_slope():
    square = np.sum((A * W) ** 2)
    np.testing.assert_allclose(ray().polyak, phi(0) / square, rtol=1e-5)
    np.testing.assert_allclose(
        ray(lower_bound=1.0).polyak, (phi(0) - 1) / square, rtol=1e-5
    )


def test_uphill_no_search_stops():
    w = jnp.asarray(W, jnp.float32)
    found = loss_along_ray(quadratic, w, w, jnp.array([0.1, 1.0]))
    assert found.slope > 0
    assert found.armijo == found.goldstein == 0


@pytest.mark.slow
def test_a_search_that_finds_nothing_stops_nowhere():
    """Infinite everywhere but at the start: hundreds of trials, none accepted."""
    # At 0 no step is too short to move the params.
    start = jnp.zeros(2)

    def wall(at):
        return quadratic(at - 1) + jnp.where((at == start).all(), 0.0, jnp.inf)

    found = loss_along_ray(wall, start, jnp.ones(2), jnp.array([0.1, 1.0]))
    assert found.slope < 0
    assert found.armijo == found.goldstein == 0


@pytest.mark.slow
def test_a_fallback_step_is_no_stop():
    """200 trials from 1e6 on end above the 1.8e-4 that Armijo's condition accepts."""
    found = loss_along_ray(
        lambda w: 0.5 * w**2, jnp.array(1e-4), jnp.array(-1.0), jnp.array([1e6])
    )
    assert found.slope < 0
    assert found.armijo == found.goldstein == 0


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"c": 0.7}, r"c must lie in \(0, 0.5\), got 0.7"),
        (
            {"step_sizes": jnp.ones((2, 2))},
            r"step_sizes must have one axis .* \(2, 2\)",
        ),
        ({"step_sizes": jnp.zeros(3)}, "step_sizes must be > 0, got 0.0"),
        ({"direction": jnp.ones(())}, r"direction must have the shape of params"),
    ],
)
def test_refusals(change, complaint):
    given = {"direction": jnp.ones(2), "step_sizes": jnp.ones(2)} | change
    with pytest.raises(ValueError, match=complaint):
        loss_along_ray(quadratic, jnp.ones(2), **given)
