"""Curvature that is indefinite, singular, damped or not the Hessian: NumPy oracles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((5, 5)).astype(np.float32)
DEFINITE = ROOT @ ROOT.T + 0.1 * np.eye(5, dtype=np.float32)
ROTATION = np.linalg.qr(ROOT)[0]
INDEFINITE = ROTATION @ np.diag([-2.0, -0.1, 0.5, 3.0, 8.0]) @ ROTATION.T
GRAD = RNG.standard_normal(5).astype(np.float32)
BOTH = [optaxls.scale_by_newton, optaxls.scale_by_hessian_free]


def quadratic(matrix):
    return lambda w: w @ jnp.asarray(matrix, jnp.float32) @ w / 2


def found(tx, grad, value_fn, at=None, **extra):
    """The direction, and the report in the state."""
    grad = jnp.asarray(grad)
    at = jnp.zeros_like(grad) if at is None else at
    direction, state = tx.update(grad, tx.init(at), at, value_fn=value_fn, **extra)
    return np.asarray(direction), state.report


def conjugate_gradients(matrix, right, damping, steps, forcing):
    """In float64: the solution or negative curvature, and the number of products."""
    matrix = np.asarray(matrix, float) + damping * np.eye(len(right))
    x, r = np.zeros(len(right)), np.asarray(right, float)
    p, norm = r, np.linalg.norm(r)
    for count in range(1, steps + 1):
        bend = p @ matrix @ p
        if bend <= 0:
            return p / np.linalg.norm(p) / max(np.abs(right).sum(), 1), count
        x, new = x + r @ r / bend * p, r - r @ r / bend * matrix @ p
        r, p = new, new + new @ new / (r @ r) * p
        if np.linalg.norm(r) <= min(forcing, np.sqrt(norm)) * norm:
            break
    return x, count


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("forcing", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("matrix", [DEFINITE, INDEFINITE])
def test_hessian_free_is_a_plain_loop(matrix, forcing, scale):
    """Also in how many products it makes; a small gradient makes the test harder."""
    tx = optaxls.scale_by_hessian_free(damping=0.2, max_cg_steps=4, forcing=forcing)
    direction, report = found(tx, scale * GRAD, quadratic(matrix))
    wanted, count = conjugate_gradients(matrix, scale * GRAD, 0.2, 4, forcing)
    np.testing.assert_allclose(direction, wanted, rtol=2e-3, atol=1e-5 * scale)
    assert report.num_products == count
    bend = wanted @ matrix @ wanted
    assert float(report.curvature) == pytest.approx(bend, rel=1e-2)


def test_negative_curvature_is_a_direction_of_descent_and_is_reported():
    tx = optaxls.scale_by_hessian_free(damping=0.0, forcing=0.0)
    for scale in (1e-4, 1.0, 10.0):
        direction, report = found(tx, scale * GRAD, quadratic(INDEFINITE))
        length = 1 / max(np.abs(scale * GRAD).sum(), 1)
        assert np.linalg.norm(direction) == pytest.approx(length, rel=1e-5)
        assert direction @ GRAD > 0 > direction @ INDEFINITE @ direction
        assert report.negative_curvature and report.curvature < 0
    assert not found(tx, GRAD, quadratic(DEFINITE))[1].negative_curvature


@pytest.mark.slow
@pytest.mark.parametrize("damping", [0.0, 0.3, 3.9])
def test_newton_raises_eigenvalues_to_the_size_of_the_most_negative_one(damping):
    """A damping below twice that size; the gradient is shared among eigenvectors."""
    tx = optaxls.scale_by_newton(damping=damping)
    direction, report = found(tx, GRAD, quadratic(INDEFINITE))
    raised = np.array([2.0, 2.0, 2.0, 3.0, 8.0]) + damping
    wanted = ROTATION @ ((ROTATION.T @ GRAD) / raised)
    np.testing.assert_allclose(direction, wanted, rtol=1e-4, atol=1e-6)
    assert report.negative_curvature and report.num_products == 5
    bend = wanted @ INDEFINITE @ wanted
    assert float(report.curvature) == pytest.approx(bend, rel=1e-3)


def test_a_damping_above_twice_the_most_negative_eigenvalue_solves_the_system():
    tx = optaxls.scale_by_newton(damping=4.1)
    direction, report = found(tx, GRAD, quadratic(INDEFINITE))
    wanted = np.linalg.solve(INDEFINITE + 4.1 * np.eye(5), GRAD)
    np.testing.assert_allclose(direction, wanted, rtol=1e-3, atol=1e-5)
    assert not report.negative_curvature


def test_without_damping_what_has_no_curvature_is_left_out():
    rows = RNG.standard_normal((2, 5)).astype(np.float32)
    singular = rows.T @ rows
    direction, _ = found(
        optaxls.scale_by_newton(damping=0.0), GRAD, quadratic(singular)
    )
    np.testing.assert_allclose(
        direction, np.linalg.pinv(singular, rcond=1e-4) @ GRAD, rtol=2e-2, atol=1e-3
    )
    flat, _ = found(optaxls.scale_by_newton(damping=0.0), GRAD, jnp.sum)
    assert flat.tolist() == [0] * 5


def test_a_linear_loss_gives_hessian_free_the_gradient_in_its_own_scale():
    """Undamped, the first product finds no curvature; damped, it is divided by tau."""
    direction, _ = found(optaxls.scale_by_hessian_free(damping=0.0), GRAD, jnp.sum)
    length = np.linalg.norm(GRAD) * np.abs(GRAD).sum()
    np.testing.assert_allclose(direction, GRAD / length, rtol=1e-5)
    for make in BOTH:
        damped, _ = found(make(damping=0.5), GRAD, jnp.sum)
        np.testing.assert_allclose(damped, GRAD / 0.5, rtol=1e-4)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_curvature_that_is_not_finite_gives_zeros(make, bad):
    direction, report = found(make(), GRAD, lambda w: bad * quadratic(DEFINITE)(w))
    assert direction.tolist() == [0] * 5
    direction, _ = found(make(), GRAD * bad, quadratic(DEFINITE))
    assert direction.tolist() == [0] * 5
    assert all(np.isfinite(np.asarray(leaf)) for leaf in report)


# Gauss-Newton.

X = RNG.standard_normal((6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def logits(p):
    return {"z": jnp.tanh(X @ p["a"]) @ p["b"], "labels": LABELS}


def cross_entropy(z):
    losses = optax.softmax_cross_entropy_with_integer_labels(z["z"], z["labels"])
    return jnp.mean(losses), "aux"


def network():
    a, b = RNG.standard_normal((3, 2)), RNG.standard_normal((2, 3))
    return {"a": jnp.asarray(a, jnp.float32), "b": jnp.asarray(b, jnp.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("make", BOTH)
def test_gauss_newton_is_that_of_the_dense_jacobian(make):
    """A network with three classes; the labels among its outputs are integers."""
    p = network()
    flat, unravel = jax.flatten_util.ravel_pytree(p)
    jacobian = jax.jacobian(lambda w: logits(unravel(w))["z"].ravel())(flat)
    inner = jax.hessian(
        lambda z: cross_entropy({"z": z.reshape(6, 3), "labels": LABELS})[0]
    )(logits(p)["z"].ravel())
    grad = RNG.standard_normal(len(flat)).astype(np.float32)
    matrix = np.asarray(jacobian.T @ inner @ jacobian) + 0.1 * np.eye(len(flat))
    more = {} if make is optaxls.scale_by_newton else {"forcing": 0.0}
    more |= {"max_cg_steps": 30} if more else {}
    tx = make(damping=0.1, **more)
    update = functools.partial(
        tx.update, predict_fn=logits, prediction_loss_fn=cross_entropy
    )
    direction, _ = jax.jit(update)(unravel(grad), tx.init(p), p)
    direction = jax.flatten_util.ravel_pytree(direction)[0]
    wanted = np.linalg.solve(matrix, grad)
    np.testing.assert_allclose(direction, wanted, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("make", BOTH)
def test_which_curvature_is_taken(make):
    given = {"predict_fn": lambda w: 2 * w, "prediction_loss_fn": lambda z: z @ z / 2}
    tx = make(damping=0.0)
    own, _ = found(tx, GRAD, lambda w: w @ w / 2)
    np.testing.assert_allclose(own, GRAD, rtol=1e-4)
    both, _ = found(tx, GRAD, lambda w: w @ w / 2, **given)
    np.testing.assert_allclose(both, GRAD / 4, rtol=1e-4)
    other = {"curvature_value_fn": lambda w: 4 * w @ w} | given
    independent, _ = found(tx, GRAD, lambda w: w @ w / 2, **other)
    np.testing.assert_allclose(independent, GRAD / 8, rtol=1e-4)
    with pytest.raises(TypeError, match="'prediction_loss_fn'"):
        found(tx, GRAD, jnp.sum, predict_fn=lambda w: w)


def test_make_step_passes_the_predictions_by_extra():
    optimizer = optaxls.newton(damping=0.0)
    x, y = jnp.eye(3), jnp.array([1.0, 2.0, 3.0])
    step = optaxls.make_step(
        lambda w, x, y: jnp.mean((x @ w - y) ** 2),
        optimizer,
        extra=lambda w, x, y: {
            "predict_fn": lambda w: x @ w,
            "prediction_loss_fn": lambda z: jnp.mean((z - y) ** 2),
        },
    )
    result = jax.jit(step)(jnp.zeros(3), optimizer.init(jnp.zeros(3)), x, y)
    np.testing.assert_allclose(result.params, y, rtol=1e-5)
    assert result.metrics["num_products"] == 3


# Damping.


@pytest.mark.parametrize("make", BOTH)
def test_a_schedule_counts_the_finite_batches(make):
    tx = make(damping=lambda count: 1.0 + count)
    state, w = tx.init(jnp.zeros(5)), jnp.zeros(5)
    told = []
    for factor in (1.0, np.nan, 1.0, 1.0):
        direction, state = tx.update(
            factor * jnp.asarray(GRAD), state, w, value_fn=lambda w: 0 * jnp.sum(w)
        )
        told.append(float(state.report.damping))
    assert told == [1.0, 2.0, 2.0, 3.0]
    np.testing.assert_allclose(direction, GRAD / 3, rtol=1e-5)


def test_what_learns_from_the_step_is_refused_where_no_step_is_seen():
    with pytest.raises(TypeError, match="scale_by_newton: damping.*optaxls.newton"):
        optaxls.scale_by_newton(damping=optaxls.adapted_damping())


def test_the_damping_follows_the_ratio_of_changes_in_plain_python():
    """On a quartic, whose model is wrong by an amount that changes along the run."""
    damping = optaxls.adapted_damping(4.0, factor=2.0, min_damping=0.5)
    optimizer = optaxls.newton(damping=damping)
    value_fn = lambda w: jnp.sum(w**4) - jnp.sum(w**2)  # noqa: E731
    step = jax.jit(optaxls.make_step(value_fn, optimizer))
    w = jnp.array([0.1, -0.01])
    state, tau, seen = optimizer.init(w), 4.0, set()
    for _ in range(12):
        before = np.asarray(w, float)
        w, state, value, _, report = step(w, state)
        assert float(report["damping"]) == pytest.approx(tau)
        moved = np.asarray(w, float) - before
        slope = (4 * before**3 - 2 * before) @ moved
        foretold = slope + (12 * before**2 - 2) @ moved**2 / 2
        ratio = (float(report["trial_value"]) - float(value)) / foretold
        if foretold < -1e-5:
            tau *= 0.5 if ratio > 0.75 else 2.0 if ratio < 0.25 else 1.0
            tau = max(tau, 0.5)
            seen.add(bool(ratio > 0.75))
    assert seen == {True, False}


def test_a_failed_search_adds_damping_and_rounding_does_not_change_it():
    optimizer = optaxls.hessian_free(damping=optaxls.adapted_damping(1.0), max_trials=2)
    w = jnp.ones(2)
    for value, wanted in ((1.0, 1.5), (jnp.nan, 1.0)):
        given = {"value": jnp.array(value), "grad": w}
        given["value_fn"] = lambda w: jnp.sum(w**2) / 2 + 5
        _, state = optimizer.update(w, optimizer.init(w), w, **given)
        assert float(state.pair.memory.next_damping) == wanted
    tiny = {"value": jnp.array(1e6), "grad": 1e-3 * w}
    _, state = optimizer.update(
        1e-3 * w, optimizer.init(w), w, value_fn=lambda w: 1e6 + 0 * jnp.sum(w), **tiny
    )
    assert state.step_rule.accepted and state.pair.memory.next_damping == 1.0


# The search.


def test_steps_begin_at_one_grow_back_and_stay_below_one():
    """After a step cut to 0.9^k the next trial is 1.5^(1/2) times as long."""
    optimizer = optaxls.newton(damping=0.0, steps_per_epoch=2.0)
    step = jax.jit(optaxls.make_step(lambda w: jnp.sum(jnp.sqrt(1 + w**2)), optimizer))
    w = jnp.array([1.3])  # Newton's step on it overshoots: w+ = -w^3
    state, sizes = optimizer.init(w), []
    for _ in range(6):
        w, state, *_, report = step(w, state)
        sizes.append((float(report["step_size"]), int(report["num_trials"])))
    (first, trials), rest = sizes[0], sizes[1:]
    assert trials > 1 and first == pytest.approx(0.9 ** (trials - 1))
    for size, trials in rest:
        first = min(first * 1.5**0.5, 1.0) * 0.9 ** (trials - 1)
        assert size == pytest.approx(first, rel=1e-5)
    assert sizes[-1][0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("make", [optaxls.newton, optaxls.hessian_free])
def test_a_step_into_a_region_of_nan_is_shortened(make):
    """w - log w: from 3 Newton's step ends at -3."""
    optimizer = make(damping=0.0)
    step = jax.jit(optaxls.make_step(lambda w: jnp.sum(w - jnp.log(w)), optimizer))
    w = jnp.array([3.0])
    state = optimizer.init(w)
    w, state, *_, report = step(w, state)
    assert report["accepted"] and report["num_trials"] > 5 and w > 0
    for _ in range(20):
        w, state, *_ = step(w, state)
    np.testing.assert_allclose(w, 1.0, rtol=1e-3)


METHODS = {
    "newton": optaxls.newton,
    "hessian_free": optaxls.hessian_free,
    "stochastic_lbfgs": optaxls.stochastic_lbfgs,
}


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", METHODS)
def test_batches_of_one_example(name, dtype):
    """Its Hessian has rank 1. Every example can be fit: the mean loss falls."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20, 4)).astype(np.float32)
    y = x @ np.ones(4, np.float32)
    optimizer, w = METHODS[name](), jnp.zeros(4, dtype)

    def loss(w, x, y):
        return (x @ w.astype(jnp.float32) - y) ** 2 / 2

    step, state = jax.jit(optaxls.make_step(loss, optimizer)), optimizer.init(w)
    # L-BFGS has no damping, and is slower: on one example a pair may be nearly flat.
    steps, most = (100, 0.2) if name == "stochastic_lbfgs" else (40, 0.1)
    for index in range(steps):
        w, state, *_ = step(w, state, x[index % 20], y[index % 20])
        assert w.dtype == dtype and jnp.all(jnp.isfinite(w))
    error = np.abs(np.asarray(w, np.float32) - 1).max()
    assert error < most


def test_pairs_without_positive_curvature_are_counted_in_the_metrics():
    """Two steps on a concave loss, then two on a bowl, with a batch of NaN between."""
    optimizer = optaxls.stochastic_lbfgs(memory_size=3)
    step = jax.jit(optaxls.make_step(lambda w, a: a * jnp.sum(w**2), optimizer))
    w = jnp.array([1.0, -2.0])
    state, counts = optimizer.init(w), []
    for factor in (-1.0, -1.0, 1.0, np.nan, 1.0):
        w, state, *_, report = step(w, state, factor)
        counts.append(int(report["num_skipped"]))
    assert counts == [1, 2, 2, 2, 2]
    assert np.count_nonzero(state.pair.curvatures) == 2


def test_the_pair_takes_its_second_gradient_from_grad_fn():
    """A value_fn that raises when differentiated would show that it is not used."""
    optimizer = optaxls.stochastic_lbfgs()
    w = jnp.array([3.0])
    given = {"value": jnp.array(9.0), "grad": 2 * w, "grad_fn": lambda w: 2 * w}

    def value_fn(w):
        return jax.lax.stop_gradient(jnp.sum(w**2))

    _, state = optimizer.update(2 * w, optimizer.init(w), w, value_fn=value_fn, **given)
    memory = state.pair
    np.testing.assert_allclose(memory.changes[memory.newest], [-2.0], rtol=1e-5)


def test_reports_of_two_directions_are_numbered():
    chain = optax.chain(optaxls.scale_by_newton(), optaxls.scale_by_hessian_free())
    report = optaxls.metrics(chain.init(jnp.zeros(2)))
    assert {"damping_0", "damping_1", "num_products_1"} <= set(report)
