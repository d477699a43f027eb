"""A step size for each coordinate: the paper's recursion in NumPy, and its promises."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls

CURVATURES = np.array([1.0, 300.0, 1e4])


def loss(w):
    return jnp.asarray(CURVATURES, w.dtype) @ (w**2) / 2


def ran(steps, value_fn=loss, start=(1.0, -2.0, 0.5), **given):
    """Params, states and reports of a jitted run."""
    optimizer = optaxls.multidimensional_backtracking(**given)
    step = jax.jit(optaxls.make_step(value_fn, optimizer))
    w = jnp.asarray(start)
    state, found = optimizer.init(w), []
    for _ in range(steps):
        w, state, _, _, report = step(w, state)
        found.append((w, state, report))
    return found


def oracle(w, s, growth, factor):
    """One step in float64: new params, new squared axes, whether it was cut."""
    d, f = len(w), lambda at: CURVATURES @ at**2 / 2
    g = CURVATURES * w
    p = s * g**2 / np.linalg.norm(np.sqrt(s) * g**2) / np.sqrt(2 * d)
    eta = 1.0
    while f(w - eta * p * g) > f(w) - eta * (p @ g**2) / 2:
        eta *= factor
    if eta == 1:
        return w - p * g, s * growth ** (2 / d), False
    h = CURVATURES * (w - p * g)
    slope, gap = g**2 / 2 - g * h, f(w - p * g) - f(w) + (p @ g**2) / 2
    u = np.maximum(slope, 0) / (slope @ p - gap)
    width = u**2 @ s
    share = width / d * (d - 1) / (width - 1)
    return w - eta * p * g, 1 / (share / s + (1 - share) * u**2), True


@pytest.mark.slow
@pytest.mark.parametrize("growth", [1.0, 1.5])
def test_it_is_the_recursion_of_the_paper(growth):
    """With the step shortened where the paper makes none."""
    with jax.enable_x64(True):
        found = ran(32, initial_step_size=10.0, growth=growth)
        w, s, cuts = np.array([1.0, -2.0, 0.5]), np.full(3, 30.0**2), 0
        for ours, state, _ in found:
            w, s, cut = oracle(w, s, growth, 0.5)
            cuts += cut
            np.testing.assert_allclose(ours, w, rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(state.pair.square_axes, s, rtol=1e-5)
            assert state.pair.num_cuts == cuts
    # Later, w is 0 but for rounding, which the cuts then depend on.
    assert 5 < cuts < 31 and np.max(np.abs(w)) > 1e-10


def test_a_cut_keeps_the_best_step_sizes_and_shrinks_the_volume():
    """1 / curvature, which the first ellipsoid holds: the ground of the proof."""
    with jax.enable_x64(True):
        found = ran(200, growth=1.0)
    axes = [np.asarray(state.pair.square_axes) for _, state, _ in found]
    volumes = [np.sum(np.log(squares)) / 2 for squares in axes]
    assert max(np.sum(1 / CURVATURES**2 / squares) for squares in axes) <= 1 + 1e-9
    cuts = np.diff([int(state.pair.num_cuts) for _, state, _ in found]) > 0
    falls = -np.diff(volumes)
    # At least log(sqrt(e) / sqrt 2 ...) of the paper; none without a cut.
    assert np.all(falls[cuts] > 0.1) and np.all(falls[~cuts] == 0)


@pytest.mark.slow
def test_it_is_far_ahead_of_one_step_size_for_all_coordinates():
    ours = [float(loss(w)) for w, *_ in ran(100)]
    optimizer = optaxls.sls(steps_per_epoch=1, c=0.5)
    step = jax.jit(optaxls.make_step(loss, optimizer))
    w = jnp.array([1.0, -2.0, 0.5])
    state = optimizer.init(w)
    for _ in range(100):
        w, state, *_ = step(w, state)
    assert ours[-1] < 1e-6 * float(loss(w))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_scale_of_the_loss_is_found(factor):
    found = ran(150, lambda w: factor * loss(w), initial_step_size=1e6 / factor)
    assert factor * loss(found[-1][0]) < 1e-6 * factor * loss(
        jnp.array([1.0, -2.0, 0.5])
    )


@pytest.mark.slow
def test_the_scales_of_the_coordinates_are_found_in_bfloat16_and_complex_params():
    for dtype in (jnp.bfloat16, jnp.complex64):
        w = {"w": jnp.array([1.0, -2.0, 0.5], dtype), "n": jnp.array([3])}
        wide = jnp.promote_types(dtype, jnp.float32)
        value = lambda w, wide=wide: jnp.sum(  # noqa: E731
            CURVATURES.astype(np.float32) * jnp.abs(w["w"].astype(wide)) ** 2
        )
        optimizer = optaxls.multidimensional_backtracking()
        step = jax.jit(optaxls.make_step(value, optimizer))
        state, first = optimizer.init(w), w
        assert state.pair.square_axes["w"].dtype == jnp.float32
        for _ in range(80):
            w, state, *_ = step(w, state)
        chex.assert_trees_all_equal_shapes_and_dtypes(w, first)
        assert value(w) < 1e-3 * value(first)


@pytest.mark.slow
def test_a_region_without_a_loss_halves_all_axes():
    def value(w):
        return jnp.where(jnp.all(jnp.abs(w) < 3), loss(w), jnp.nan)

    found = ran(150, value)
    first = found[0][1].pair
    np.testing.assert_allclose(first.square_axes, (3e6) ** 2 / 4, rtol=1e-6)
    assert all(bool(jnp.all(jnp.isfinite(w))) for w, *_ in found)
    assert loss(found[-1][0]) < 1e-6


def test_nothing_is_learnt_where_nothing_is_tried():
    optimizer = optaxls.multidimensional_backtracking()
    step = jax.jit(optaxls.make_step(lambda w, scale: scale * loss(w), optimizer))
    zero, one = jnp.zeros(3), jnp.ones(3)
    state = optimizer.init(one)
    for w, scale in ((zero, 1.0), (one, jnp.nan)):
        result = step(w, state, scale)
        chex.assert_trees_all_equal(result.opt_state.pair, state.pair)
        chex.assert_trees_all_equal(result.params, w)
        assert not result.metrics["accepted"]


def test_one_param_is_backtracking():
    found = ran(40, lambda w: jnp.sum(w**2) / 2, start=(1.0,), growth=1.0)
    assert abs(float(found[-1][0][0])) < 1e-3
    assert 0.1 < float(jnp.sqrt(found[-1][1].pair.square_axes[0])) <= 4
