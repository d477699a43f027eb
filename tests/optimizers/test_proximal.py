"""Proximal optimizers against closed forms, scikit-learn and their own promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import optaxls
from optaxls import prox

WEIGHT = 0.01


@functools.cache
def rows():
    """Standardised features times their label, of breast cancer."""
    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(0)) / features.std(0)
    return features * (2.0 * labels - 1)[:, None], features, labels


def logistic(w):
    signed = jnp.asarray(rows()[0], w.dtype)
    return jnp.mean(jax.nn.softplus(-signed @ w))


def batch_loss(w, index):
    signed = jnp.asarray(rows()[0], w.dtype)
    return jnp.mean(jax.nn.softplus(-signed[index] @ w))


def kept(result):
    return optaxls.eval_params(result.opt_state, result.params)


@pytest.mark.slow
def test_fista_finds_the_lasso_of_scikit_learn_and_its_support():
    _, features, labels = rows()
    other = LogisticRegression(
        l1_ratio=1.0, C=1 / (WEIGHT * len(labels)), solver="liblinear",
        fit_intercept=False, tol=1e-10, max_iter=10_000,
    ).fit(features, labels)  # fmt: skip
    expected = jnp.asarray(other.coef_[0])
    with jax.enable_x64(True):
        h = prox.l1(WEIGHT)
        result = optaxls.minimize(
            logistic, jnp.zeros(30), optaxls.fista(h), tolerance=1e-8, max_steps=500
        )
        w = kept(result)
        assert result.converged and optaxls.StopReason(int(result.stop_reason)) == 0
        total = logistic(w) + h.penalty(w)
        best = logistic(expected) + h.penalty(expected)
        assert float(total) <= float(best) + 1e-9
        assert np.array_equal(w != 0, expected != 0)
        # The history is that of loss and penalty; 356 steps in a plain prototype.
        gaps = (result.history.value - total) / (result.history.value[0] - total)
        assert int(jnp.argmax(gaps <= 1e-8)) <= 200
        assert int(result.num_evaluations) <= 2.5 * int(result.num_steps)
        assert int(result.opt_state.num_restarts) >= 1


def test_without_a_penalty_fista_is_accelerated_gradient_descent():
    scales = jnp.array([1.0, 0.01])
    result = optaxls.minimize(
        lambda w: 0.5 * jnp.sum(scales * w**2),
        jnp.ones(2),
        optaxls.fista(prox.l1(0.0), initial_step_size=1.0),
        tolerance=1e-6,
    )
    # Gradient descent needs over 900 steps.
    assert result.converged and int(result.num_steps) < 150


@pytest.mark.slow
def test_the_step_size_of_fista_grows_and_shrinks():
    for first in (1e-3, 1e3):
        result = optaxls.minimize(
            logistic,
            jnp.zeros(30),
            optaxls.fista(prox.l1(0.1), initial_step_size=first),
            tolerance=1e-4,
        )
        assert result.converged and int(result.num_steps) < 150


CLOSED = {
    "simplex": (prox.simplex(), jnp.array([0.6, 0.4, 0.0])),
    "l1_ball": (prox.l1_ball(1.0), jnp.array([0.6, 0.4, 0.0])),
    "l2": (prox.l2(1.0), jnp.array([0.4, 0.3, -0.1])),
    "group": (prox.group_l2(0.5, axis=0), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_minimize_stops_at_known_minima_of_the_quadratic(name):
    """f = ||w - t||^2 / 2: the minimum is the proximal operator of t."""
    h, expected = CLOSED[name]
    target = jnp.array([0.8, 0.6, -0.2])
    expected = h.prox(target, 1.0) if expected is None else expected
    result = optaxls.minimize(
        lambda w: 0.5 * jnp.sum((w - target) ** 2),
        h.prox(jnp.zeros(3), 1.0),
        optaxls.prox_sgd(h, steps_per_epoch=1, c=0.5, growth=1.0),
    )
    assert result.converged and jnp.allclose(result.params, expected, atol=1e-5)
    value = 0.5 * jnp.sum((expected - target) ** 2) + h.penalty(expected)
    assert float(result.value) == pytest.approx(float(value), abs=1e-6)


@pytest.mark.slow
def test_a_callback_sees_the_residual_and_stops():
    seen = []

    def callback(progress):
        seen.append(float(progress.optimality))
        return len(seen) > 4

    optaxls.minimize(
        logistic,
        jnp.zeros(30),
        optaxls.fista(prox.l1(WEIGHT)),
        callback=callback,
    )
    assert len(seen) == 5 and seen[-1] < seen[0]


@functools.cache
def best(kind):
    h = {"l1": prox.l1(WEIGHT), "box": prox.box(-0.5, 0.3)}[kind]
    result = optaxls.minimize(logistic, jnp.zeros(30), optaxls.fista(h), tolerance=1e-5)
    return h, float(result.value)


STOCHASTIC = {
    "prox_sgd": lambda h: optaxls.prox_sgd(h, steps_per_epoch=18, c=0.5),
    "prox_adam": lambda h: optaxls.prox_adam(h, steps_per_epoch=18),
    "auto": lambda h: optaxls.auto(path=optaxls.along_prox(h)),
}
# Of the decrease that is possible, what is left after 30 epochs in batches of 32.
LEFT = {"prox_sgd": 0.03, "prox_adam": 0.08, "auto": 0.006}


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(
            name, kind, marks=() if (name, kind) == ("auto", "l1") else pytest.mark.slow
        )
        for name in STOCHASTIC
        for kind in ("l1", "box")
    ],
)
def test_mini_batches_come_near_the_minimum_of_loss_and_penalty(name, kind):
    h, least = best(kind)
    optimizer = STOCHASTIC[name](h)
    step = optaxls.make_step(batch_loss, optimizer)

    @jax.jit
    def train(keys):
        def body(carry, key):
            found = step(*carry, jax.random.choice(key, 569, (32,)))
            return (found.params, found.opt_state), None

        w = jnp.zeros(30)
        return jax.lax.scan(body, (w, optimizer.init(w)), keys)[0]

    w, state = train(jax.random.split(jax.random.key(0), 540))
    final = optaxls.eval_params(state, w)
    left = (logistic(final) + h.penalty(final) - least) / (jnp.log(2.0) - least)
    assert float(left) < LEFT[name]
    assert jnp.all((w >= jnp.float32(-0.5)) & (w <= jnp.float32(0.3))) or kind == "l1"


def test_prox_adam_minimises_the_penalty_itself():
    """A threshold that is the same for all coordinates would stop elsewhere."""
    scales, target = jnp.array([1.0, 100.0]), jnp.array([2.0, 0.02])
    optimizer = optaxls.prox_adam(prox.l1(0.5), steps_per_epoch=1, c=0.5)
    result = optaxls.minimize(
        lambda w: 0.5 * jnp.sum(scales * (w - target) ** 2),
        jnp.ones(2),
        optimizer,
        tolerance=1e-5,
    )
    # w_j = t_j - 0.5 / s_j
    assert jnp.allclose(result.params, jnp.array([1.5, 0.015]), atol=1e-4)


@pytest.mark.slow
def test_a_norm_constraint_on_the_rows_of_a_layer():
    key = jax.random.key(0)
    start = prox.row_normalised().prox(jax.random.normal(key, (4, 3)), 1.0)
    target = prox.row_normalised().prox(
        jax.random.normal(jax.random.key(1), (4, 3)), 1.0
    )
    path = optaxls.along_projection(prox.row_normalised())
    optimizer = optaxls.sls(steps_per_epoch=1, c=0.5, path=path)
    step = jax.jit(optaxls.make_step(lambda w: jnp.sum((w - target) ** 2), optimizer))
    w, state = start, optimizer.init(start)
    for _ in range(60):
        w, state, *_ = step(w, state)
    assert jnp.allclose(jnp.linalg.norm(w, axis=1), 1, atol=1e-6)
    assert jnp.allclose(w, target, atol=1e-2)
