"""The plane of a direction and the last displacement, and its least point."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize

import optaxls
from optaxls.directions.acceleration._plane_model import newton_step


def searched(max_newton_steps=10):
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_plane(max_newton_steps=max_newton_steps),
        optaxls.scale_by_line_search(
            optaxls.armijo(1e-4), optaxls.constant(1.0), optaxls.backtracking(0.5)
        ),
    )


def ran(loss, w, steps, extra=None):
    """Params and reports of a jitted run."""
    optimizer = searched()
    step = jax.jit(optaxls.make_step(loss, optimizer, extra=extra))
    state, found, reports = optimizer.init(w), [w], []
    for _ in range(steps):
        w, state, *_, report = step(w, state)
        found.append(w)
        reports.append(report)
    return found, reports


def matrix(size=6):
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return basis * np.geomspace(1, 100, size) @ basis.T, rng.standard_normal(size)


def conjugate_gradients(a, b, steps):
    """Hestenes and Stiefel, from 0."""
    x, r = np.zeros_like(b), b.copy()
    p = r
    yield x
    for _ in range(steps):
        alpha = r @ r / (p @ a @ p)
        x, after = x + alpha * p, r - alpha * a @ p
        p, r = after + (after @ after) / (r @ r) * p, after
        yield x


@pytest.mark.slow
@pytest.mark.parametrize("linear", [False, True])
def test_on_a_quadratic_it_is_the_method_of_conjugate_gradients(linear):
    """Each step is the tested one of size 1, and the last one ends the run."""
    a, b = matrix()
    with jax.enable_x64(True):
        value = lambda w: w @ a @ w / 2 - b @ w  # noqa: E731
        extra = None
        if linear:
            root = np.linalg.cholesky(a).T
            extra = lambda w: {  # noqa: E731
                "predict_fn": lambda w: (root @ w, w),
                "prediction_loss_fn": lambda z: z[0] @ z[0] / 2 - b @ z[1],
            }
        found, reports = ran(value, jnp.zeros(6), 6, extra)
    for ours, theirs in zip(found, conjugate_gradients(a, b, 6), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[-1], np.linalg.solve(a, b), rtol=1e-6)
    for report in reports:
        assert float(report["step_size"]) == 1 and int(report["num_trials"]) == 1


def quartic(w):
    return jnp.sum(jnp.array([1.0, 5.0, 0.2]) * w**2) + jnp.sum((w[1:] - w[:-1]) ** 4)


def at_second_step(transform=lambda d: d, loss=quartic, **given):
    """What comes out at a point reached by a known displacement."""
    tx = optaxls.scale_by_plane()
    before, w = jnp.array([1.0, -0.5, 2.0]), jnp.array([0.8, 0.1, 1.5])
    state = tx.init(before)
    grad = jax.grad(quartic)(w)
    given = {"value_fn": loss, **given}
    return tx.update(transform(-grad), state, w, grad=grad, **given), grad, w - before


@pytest.mark.slow
def test_the_two_numbers_solve_the_equations_of_the_model():
    with jax.enable_x64(True):
        (found, state), grad, displacement = at_second_step()
        w = jnp.array([0.8, 0.1, 1.5])
        hessian = np.asarray(jax.hessian(quartic)(w))
    columns = np.stack([-grad, displacement], 1) / [
        np.linalg.norm(grad), np.linalg.norm(displacement)
    ]  # fmt: skip
    t = np.linalg.solve(columns.T @ hessian @ columns, -columns.T @ np.asarray(grad))
    np.testing.assert_allclose(found, columns @ t, rtol=1e-6)
    np.testing.assert_allclose(
        [state.along_direction, state.along_displacement], t, rtol=1e-6
    )


def test_the_sign_and_the_length_of_the_direction_do_not_matter():
    straight, turned = (
        at_second_step(lambda d, factor=factor: factor * d)[0]
        for factor in (1.0, -100.0)
    )
    np.testing.assert_allclose(straight[0], turned[0], rtol=1e-5)
    np.testing.assert_allclose(
        straight[1].along_direction, -turned[1].along_direction, rtol=1e-5
    )


def test_either_step_may_be_negative():
    """Back along the displacement, where the last step went too far."""
    tx = optaxls.scale_by_plane()
    w = jnp.array([2.0, 1.0])
    updates, state = tx.update(
        jnp.array([0.0, -1.0]), tx.init(jnp.array([-1.0, 1.0])), w, grad=w,
        value_fn=lambda w: jnp.sum(w**2) / 2,
    )  # fmt: skip
    np.testing.assert_allclose(updates, -w, rtol=1e-6)
    assert state.along_displacement == pytest.approx(-2)


def logistic():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((40, 5)) * np.geomspace(1, 0.03, 5)
    y = np.sign(x @ np.ones(5) + 0.3 * rng.standard_normal(40))
    penalised = lambda z, w: jnp.mean(jnp.logaddexp(0, -y * z)) + 1e-3 * w @ w  # noqa: E731
    return x, penalised


@pytest.mark.slow
def test_with_cached_products_the_loss_itself_is_minimised_in_the_plane():
    x, penalised = logistic()
    calls = []

    def predict(w):
        calls.append(w)
        return x @ w, w

    with jax.enable_x64(True):
        tx = optaxls.scale_by_plane(max_newton_steps=30)
        before, w = jnp.zeros(5), jnp.asarray(np.array([0.5, -1.0, 3.0, 1.0, 0.0]))
        loss = lambda w: penalised(x @ w, w)  # noqa: E731
        grad = jax.grad(loss)(w)
        updates, _ = jax.jit(
            lambda w: tx.update(
                -grad, tx.init(before), w, grad=grad, predict_fn=predict,
                prediction_loss_fn=lambda z: penalised(*z),
            )
        )(w)  # fmt: skip
        # Traced once: no trial in the plane goes through the features.
        assert len(calls) == 1
        columns = np.stack([grad, w], 1)
        best = optimize.minimize(
            lambda t: float(loss(w + columns @ t)), np.zeros(2), tol=1e-12,
            method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15},
        )  # fmt: skip
        np.testing.assert_allclose(float(loss(w + updates)), best.fun, rtol=1e-9)
        np.testing.assert_allclose(updates, columns @ best.x, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_two_layers_are_linear_in_what_the_loss_needs():
    """z holds the inputs of the hidden units and the second layer: both are exact."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    w = {"a": jnp.asarray(rng.standard_normal((4, 6)) / 2, jnp.float32),
         "b": jnp.asarray(rng.standard_normal(6) / 2, jnp.float32)}  # fmt: skip
    of_z = lambda z: jnp.mean((jnp.tanh(z[0]) @ z[1] - y) ** 2)  # noqa: E731
    predict = lambda w: (x @ w["a"], w["b"])  # noqa: E731
    extra = lambda w: {"predict_fn": predict, "prediction_loss_fn": of_z}  # noqa: E731
    loss = lambda w: of_z(predict(w))  # noqa: E731
    found, reports = ran(loss, w, 12, extra)
    values = [float(loss(w)) for w in found]
    assert all(
        after < before for before, after in zip(values, values[1:], strict=False)
    )
    # No step along the same plane is better: the slopes along both axes are 0.
    for before, after in zip(found, found[1:4], strict=False):
        moved = jax.tree.map(jnp.subtract, after, before)
        slope = optax.tree.vdot(jax.grad(loss)(after), moved)
        assert abs(slope) < 1e-3 * abs(optax.tree.vdot(jax.grad(loss)(before), moved))


@pytest.mark.parametrize("seed", range(5))
def test_the_step_is_downhill_whatever_the_curvatures(seed):
    """And it is Newton's where both are positive."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((2, 2)) * [1.0, 1e-3]
    slopes = rng.standard_normal(2) * [1.0, 1e-3]
    with jax.enable_x64(True):
        convex = root.T @ root
        found = newton_step(jnp.asarray(slopes), jnp.asarray(convex))
        np.testing.assert_allclose(found, -np.linalg.solve(convex, slopes), rtol=1e-6)
        for hessian in (-convex, root + root.T, np.diag([1.0, -1e-6])):
            found = newton_step(jnp.asarray(slopes), jnp.asarray(hessian))
            assert np.all(np.isfinite(found)) and slopes @ np.asarray(found) < 0


def test_what_has_no_curvature_is_left_out():
    step = functools.partial(newton_step, jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(step(jnp.diag(jnp.array([4.0, 0.0]))), [-0.25, 0.0])
    # Two parallel vectors: any combination with the right sum will do.
    np.testing.assert_allclose(jnp.sum(step(jnp.full((2, 2), 2.0))), -0.5, rtol=1e-6)
    np.testing.assert_array_equal(step(jnp.zeros((2, 2))), 0)


LINEAR = jnp.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize(
    "loss",
    [lambda w: LINEAR @ w, lambda w: jnp.sum(w) * jnp.nan, lambda w: jnp.sum(w) * 0],
)
def test_without_a_usable_model_the_direction_is_what_came_in(loss):
    (found, state), grad, _ = at_second_step(loss=loss)
    np.testing.assert_array_equal(found, -grad)
    assert state.along_direction == 0 and state.along_displacement == 0


def test_in_a_region_without_a_loss_the_search_shortens_the_step():
    def loss(w):
        return jnp.where(w[0] > 0.5, jnp.sum((w - 0.4) ** 2), jnp.nan)

    found, reports = ran(loss, jnp.array([2.0, 1.0]), 6)
    assert jnp.all(jnp.isfinite(found[-1])) and loss(found[-1]) < 0.02
    assert reports[0]["num_trials"] > 1


def test_at_the_minimum_nothing_moves_and_training_goes_on_after_a_bad_batch():
    optimizer = searched()
    step = jax.jit(optaxls.make_step(lambda w, c: jnp.sum((w - c) ** 4 + (w - c) ** 2),
                                     optimizer))  # fmt: skip
    w = jnp.ones(3)
    state = optimizer.init(w)
    still = step(w, state, 1.0)
    np.testing.assert_array_equal(still.params, w)
    assert not still.metrics["accepted"] and still.metrics["num_trials"] == 0
    for c in (0.0, jnp.nan, 0.0, 0.0):
        before = w
        w, state, *_, report = step(w, state, c)
        assert report["accepted"] == jnp.isfinite(c)
    assert jnp.all(jnp.isfinite(w)) and jnp.all(w < before)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.complex64])
def test_other_dtypes_keep_theirs_and_descend(dtype):
    w = {"w": jnp.array([1.0, -0.5, 2.0], dtype), "n": jnp.array([1, 2])}

    def loss(w):
        wide = jnp.abs(w["w"].astype(jnp.promote_types(dtype, jnp.float32))) ** 2
        return jnp.sum(jnp.array([1.0, 5.0, 0.2]) * wide)

    found, _ = ran(loss, w, 4)
    chex.assert_trees_all_equal_shapes_and_dtypes(found[-1], w)
    assert loss(found[-1]) < 1e-2 * loss(w)


def test_missing_arguments_are_named():
    tx = optaxls.scale_by_plane()
    w = jnp.ones(2)
    with pytest.raises(TypeError, match="scale_by_plane: .*'value_fn'"):
        tx.update(w, tx.init(w), w, grad=w)
    with pytest.raises(TypeError, match="'prediction_loss_fn'"):
        tx.update(w, tx.init(w), w, grad=w, predict_fn=lambda w: w)
