"""owl_qn, two_metric, spg and pqn beside SciPy, scikit-learn and optimality itself."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import optaxls

INF = math.inf


@functools.cache
def malignant():
    """Standardised features, and labels of -1 and 1."""
    features, benign = load_breast_cancer(return_X_y=True)
    return (features - features.mean(0)) / features.std(0), 1 - 2.0 * benign


@functools.cache
def logistic(l2=0.0):
    """The mean logistic loss without an intercept."""
    x, y = malignant()

    def loss(w):
        margins = jnp.asarray(x * y[:, None]) @ w
        return jnp.mean(jnp.logaddexp(0, -margins)) + 0.5 * l2 * w @ w

    return loss


@functools.cache
def fitted(method, l2=1e-3):
    """A run of 400 steps at most on non-negative weights."""
    make = {
        "two_metric": lambda: optaxls.two_metric(0.0, INF),
        "spg": lambda: optaxls.spg(optaxls.prox.nonnegative()),
        "pqn": lambda: optaxls.pqn(optaxls.prox.nonnegative()),
    }[method]
    with jax.enable_x64(True):
        result = optaxls.minimize(
            logistic(l2), jnp.zeros(30), make(), max_steps=400, tolerance=1e-8
        )
        return jax.tree.map(np.asarray, result._replace(opt_state=None))


@functools.cache
def theirs(l2=1e-3):
    """SciPy's L-BFGS-B on the same problem."""
    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(logistic(l2)))
        return scipy.optimize.minimize(
            lambda w: [np.asarray(part) for part in both(w)],
            np.zeros(30),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * 30,
            options={"ftol": 0, "gtol": 1e-8},
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["two_metric", "spg", "pqn"])
def test_bounds_end_where_l_bfgs_b_of_scipy_ends(method):
    ours = fitted(method)
    assert ours.converged and ours.optimality <= 1e-8
    assert ours.value == pytest.approx(theirs().fun, abs=1e-12)
    np.testing.assert_allclose(ours.params, theirs().x, atol=1e-5)
    assert np.min(ours.params) >= 0


@pytest.mark.slow
def test_two_metric_finds_the_bounds_and_needs_no_more_evaluations_than_scipy():
    ours = fitted("two_metric")
    assert np.array_equal(ours.params > 0, theirs().x > 0)
    assert ours.num_evaluations <= theirs().nfev


def _owl_qn(weight, **more):
    with jax.enable_x64(True):
        result = optaxls.minimize(
            logistic(),
            jnp.zeros(30),
            optaxls.owl_qn(weight),
            **{"tolerance": 1e-8, "max_steps": 1000, **more},
        )
        grad = jax.grad(logistic())(result.params)
        return jax.tree.map(np.asarray, (result._replace(opt_state=None), grad))


@pytest.mark.slow
def test_owl_qn_satisfies_the_optimality_of_the_lasso_with_the_support_of_liblinear():
    x, y = malignant()
    weight = 0.01
    found, grad = _owl_qn(weight)
    zero = found.params == 0
    assert found.converged and 5 < np.sum(zero) < 28
    assert np.all(np.abs(grad[zero]) <= weight + 1e-8)
    signs = np.sign(found.params[~zero])
    np.testing.assert_allclose(grad[~zero], -weight * signs, atol=1e-8)
    liblinear = LogisticRegression(
        l1_ratio=1,
        solver="liblinear",
        fit_intercept=False,
        C=1 / (weight * len(y)),
        tol=1e-10,
        max_iter=10_000,
    ).fit(x, y)
    np.testing.assert_allclose(liblinear.coef_[0], found.params, atol=1e-4)
    assert np.array_equal(liblinear.coef_[0] != 0, ~zero)


@pytest.mark.slow
def test_owl_qn_needs_half_of_liblbfgs_evaluations():
    """149 of liblbfgs to a relative gap of 1e-8, with a column of ones besides."""
    x, y = malignant()
    signed = np.c_[x, np.ones(len(y))] * y[:, None]
    largest = np.max(np.abs(signed.sum(0))) / (2 * len(y))

    def loss(w):
        return jnp.mean(jnp.logaddexp(0, -jnp.asarray(signed) @ w))

    with jax.enable_x64(True):
        optimizer = optaxls.owl_qn(0.01 * largest)
        result = optaxls.minimize(
            loss, jnp.zeros(31), optimizer, max_steps=400, tolerance=1e-10
        )
        values = np.asarray(result.history.value)[: int(result.num_steps) + 1]
        counts = np.asarray(result.history.num_evaluations)
    gaps = (values - values[-1]) / (values[0] - values[-1])
    assert counts[np.argmax(gaps <= 1e-8)] <= 149 / 2


@pytest.mark.slow
def test_parts_of_weight_0_are_not_penalised():
    targets = {"w": jnp.array([3.0, 0.25, -2.0]), "b": jnp.array(0.25)}

    def loss(params):
        squares = jax.tree.map(lambda p, t: jnp.sum((p - t) ** 2), params, targets)
        return 0.5 * (squares["w"] + squares["b"])

    start = jax.tree.map(jnp.zeros_like, targets)
    optimizer = optaxls.owl_qn({"w": 0.5, "b": 0.0})
    found = optaxls.minimize(loss, start, optimizer).params
    np.testing.assert_allclose(found["w"], [2.5, 0.0, -1.5], atol=1e-6)
    assert found["w"][1] == 0
    assert found["b"] == pytest.approx(0.25, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("make", [optaxls.spg, optaxls.pqn])
def test_spg_and_pqn_end_at_the_lasso_of_owl_qn(make):
    with jax.enable_x64(True):
        optimizer = make(optaxls.prox.l1(0.01))
        found = optaxls.minimize(
            logistic(), jnp.zeros(30), optimizer, tolerance=1e-8, max_steps=2000
        )
        assert found.converged
        assert float(found.value) == pytest.approx(_owl_qn(0.01)[0].value, abs=1e-12)


def _least_squares(targets):
    """NaN outside of the unit box, where the loss must not be evaluated."""

    def loss(w):
        inside = jnp.all((w >= 0) & (w <= 1))
        bent = (w - targets) @ jnp.array(
            [[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0, 0.5, 1]]
        )
        return jnp.where(inside, 0.5 * bent @ (w - targets), jnp.nan)

    return loss


BOX = optaxls.prox.box(0.0, 1.0)
BOXED = {
    "two_metric": optaxls.two_metric(0.0, 1.0),
    "spg": optaxls.spg(BOX),
    "pqn": optaxls.pqn(BOX),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", BOXED)
def test_from_outside_of_the_box_the_first_step_is_the_projection(method):
    targets = jnp.array([0.5, 3.0, -1.0])
    optimizer = BOXED[method]
    start = jnp.array([7.0, -3.0, 0.5])
    loss = _least_squares(targets)
    outside = optimizer.update(
        jnp.ones(3),
        optimizer.init(start),
        start,
        value=jnp.array(2.0),
        grad=jnp.ones(3),
        value_fn=loss,
    )[0]
    assert np.array_equal(optax.apply_updates(start, outside), [1.0, 0.0, 0.5])
    found = optaxls.minimize(loss, jnp.array([1.0, 0.0, 0.5]), optimizer)
    assert found.converged
    # With the last two at their bounds: 2 (w - 0.5) + (1 - 3) = 0 beyond 1.
    np.testing.assert_allclose(found.params, [1.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lower, upper", [(-INF, INF), (-INF, 100.0)])
def test_bounds_that_do_not_bind_leave_l_bfgs(lower, upper):
    def loss(w):
        return jnp.sum(jnp.cosh(w - jnp.array([1.0, -2.0, 0.5]))) + 0.1 * w[0] * w[1]

    start = jnp.zeros(3)
    bounded = optaxls.minimize(loss, start, optaxls.two_metric(lower, upper))
    free = optaxls.minimize(loss, start, optaxls.lbfgs())
    assert bounded.converged and free.converged
    np.testing.assert_allclose(bounded.params, free.params, atol=1e-5)
    assert bounded.num_evaluations <= free.num_evaluations + 2


@pytest.mark.slow
def test_equal_bounds_hold_a_coordinate_and_bounds_in_the_wrong_order_are_refused():
    upper = jnp.array([INF, 0.25, 1.0])
    lower = jnp.array([-INF, 0.25, 0.0])
    start = jnp.array([0.0, 0.25, 0.5])
    found = optaxls.minimize(
        lambda w: jnp.sum((w - 3.0) ** 2), start, optaxls.two_metric(lower, upper)
    )
    np.testing.assert_allclose(found.params, [3.0, 0.25, 1.0], atol=1e-6)
    assert found.params[1] == 0.25 and found.params[2] == 1.0
    with pytest.raises(ValueError, match="lower must not be above upper"):
        optaxls.two_metric(1.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [optaxls.spg, optaxls.pqn])
def test_a_penalty_that_is_nan_makes_no_step(make):
    broken = optaxls.prox.l1(0.1)._replace(
        penalty=lambda params: jnp.array(jnp.nan), terms=None
    )
    found = optaxls.minimize(lambda w: jnp.sum(w**2), jnp.ones(2), make(broken))
    assert optaxls.StopReason(int(found.stop_reason)).name == "NOT_FINITE"
    assert np.array_equal(found.params, [1.0, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("make", [optaxls.spg, optaxls.pqn])
def test_the_simplex_is_kept_and_its_minimum_found(make):
    """Minus the entropy and a linear term: the minimum is a softmax."""
    scores = jnp.array([0.3, -1.0, 0.8, 0.1])

    def loss(w):
        return jnp.sum(w * jnp.log(jnp.maximum(w, 1e-30))) - scores @ w

    with jax.enable_x64(True):
        optimizer = make(optaxls.prox.simplex())
        found = optaxls.minimize(loss, jnp.ones(4) / 4, optimizer, tolerance=1e-8)
        assert found.converged
        np.testing.assert_allclose(found.params, jax.nn.softmax(scores), atol=1e-6)


def test_complex_params_are_refused_by_what_has_orthants_or_bounds():
    start = jnp.ones(2, jnp.complex64)
    for optimizer in (optaxls.owl_qn(0.1), optaxls.two_metric(0.0, 1.0)):
        with pytest.raises(TypeError, match="real"):
            optaxls.minimize(lambda w: jnp.sum(jnp.abs(w) ** 2), start, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("make", [optaxls.spg, optaxls.pqn])
def test_rounding_does_not_stop_them_before_a_millionth_in_float32(make):
    """The predicted decrease there is far below the rounding of the penalty."""
    x, y = malignant()
    signed = jnp.asarray(x * y[:, None], jnp.float32)

    def loss(w):
        return jnp.mean(jnp.logaddexp(0, -signed @ w)) + 5e-4 * w @ w

    optimizer = make(optaxls.prox.l1(0.01))
    found = optaxls.minimize(loss, jnp.zeros(30, jnp.float32), optimizer)
    assert found.converged and found.optimality <= 1e-6
