"""L-BFGS for full batches: evaluations beside SciPy's, an oracle, and bad losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from sklearn.datasets import load_breast_cancer, load_digits

import optaxls
from tests.directions.bfgs import bfgs_direction


def logistic(features, labels, l2):
    """The mean loss, with a column for the intercept, which is penalised too."""
    x = np.c_[features, np.ones(len(features))]
    signed = jnp.asarray(x * (2.0 * labels - 1)[:, None])

    def loss(w):
        return jnp.mean(jnp.logaddexp(0, -signed @ w)) + 0.5 * l2 * w @ w

    return loss, np.zeros(x.shape[1])


def breast_cancer():
    features, labels = load_breast_cancer(return_X_y=True)
    scaled = (features - features.mean(0)) / features.std(0)
    return logistic(scaled, labels, 1e-3)


def digits():
    features, labels = load_digits(return_X_y=True)
    return logistic(features / 16, labels % 2, 1 / len(labels))


def rosenbrock(size):
    start = np.ones(size)
    start[::2] = -1.2

    def loss(w):
        return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)

    return loss, start


def network(seed):
    """Eight hidden units on 64 points of four coordinates."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((64, 4))
    y = np.sin(x @ rng.standard_normal(4))

    def loss(w):
        hidden = jnp.tanh(x @ w[:32].reshape(4, 8) + w[32:40])
        return jnp.mean((hidden @ w[40:] - y) ** 2) + 1e-3 * w @ w

    return loss, 0.5 * rng.standard_normal(48)


PROBLEMS = {
    "breast cancer": breast_cancer,
    "digits": digits,
    "rosenbrock 2": functools.partial(rosenbrock, 2),
    "rosenbrock 10": functools.partial(rosenbrock, 10),
    "rosenbrock 100": functools.partial(rosenbrock, 100),
    "network": functools.partial(network, 0),
    "network, another seed": functools.partial(network, 3),
}


QUICK = ("breast cancer", "rosenbrock 2")
EACH = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in PROBLEMS
]


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("name", EACH)
def test_evaluations_are_at_most_those_of_scipy_and_a_seventh_more(name):
    with jax.enable_x64(True):
        loss, start = PROBLEMS[name]()
        both = jax.jit(jax.value_and_grad(loss))
        theirs = scipy.optimize.minimize(
            lambda w: [np.asarray(part) for part in both(w)],
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxcor": 10, "ftol": 0, "gtol": 1e-6, "maxiter": 5000},
        )
        ours = optaxls.minimize(
            loss, jnp.asarray(start), optaxls.lbfgs(), max_steps=5000
        )
        assert np.max(np.abs(theirs.jac)) <= 1e-6 and ours.converged
        assert jnp.max(jnp.abs(jax.grad(loss)(ours.params))) <= 1e-6
        assert ours.num_evaluations <= 1.15 * theirs.nfev
        if name != "network":  # which has several minima
            assert ours.value <= theirs.fun + 1e-9


@pytest.mark.slow
def test_its_direction_is_bfgs_of_its_pairs_in_numpy():
    """More steps than the memory holds."""
    loss, start = rosenbrock(3)
    optimizer = optaxls.lbfgs(memory_size=2)
    w, pairs = jnp.asarray(start, jnp.float32), []
    state = optimizer.init(w)
    step = jax.jit(optaxls.make_step(loss, optimizer))
    for _ in range(5):
        grad = np.asarray(jax.grad(loss)(w))
        new, state, *_, report = step(w, state)
        moved = np.asarray(new - w)
        wanted = report["step_size"] * bfgs_direction(pairs[-2:], grad)
        np.testing.assert_allclose(moved, wanted, rtol=1e-2, atol=1e-5)
        pairs.append((moved, np.asarray(jax.grad(loss)(new)) - grad))
        w = new


def run(loss, start, **given):
    return optaxls.minimize(loss, jnp.asarray(start), optaxls.lbfgs(), **given)


@pytest.mark.slow
def test_a_pair_of_negative_curvature_does_not_enter():
    """Along a concave stretch the gradient gets longer."""
    optimizer = optaxls.lbfgs()
    w = jnp.array([0.1])
    step = jax.jit(optaxls.make_step(lambda w: jnp.sum(jnp.cos(w)), optimizer))
    state = optimizer.init(w)
    # Any curvature is accepted: a step of length sin(0.1) stays where it is negative.
    loose = optaxls.lbfgs(c2=0.999999)
    result = optaxls.make_step(lambda w: -jnp.sum(w**2) / 2, loose)(w, loose.init(w))
    assert not jnp.any(result.opt_state.pair.curvatures > 0)
    assert optaxls.metrics(result.opt_state)["num_skipped"] == 1
    for _ in range(8):
        w, state, *_ = step(w, state)
    assert w[0] == pytest.approx(np.pi, abs=1e-4)


@pytest.mark.slow
def test_it_leaves_a_saddle():
    saddle = run(lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4 / 4, [1.0, 1e-3])
    assert saddle.converged and saddle.value == pytest.approx(-1.0)


@pytest.mark.slow
def test_it_keeps_inside_a_barrier():
    def barrier(w):  # the minimum of w_i - log w_i is at 1; NaN below 0
        return jnp.sum(w - jnp.log(w))

    for start in ([1e-3, 5.0], [0.5, 100.0]):
        result = run(barrier, start, tolerance=1e-5)
        assert result.converged
        np.testing.assert_allclose(result.params, 1.0, atol=1e-4)


def test_after_a_failed_search_all_pairs_are_forgotten():
    """A wall stands in the way of the third step, and then it is gone."""
    optimizer = optaxls.lbfgs(max_trials=3)

    def loss(w, wall):
        return jnp.sum(jnp.array([1.0, 30.0]) * w**2) + wall

    def update(w, state, wall):
        value, grad = jax.value_and_grad(loss)(w, 0.0)
        updates, state = optimizer.update(
            grad,
            state,
            w,
            value=value,
            grad=grad,
            value_fn=lambda at: loss(at, wall),
        )
        return updates, state

    w, update = jnp.array([3.0, 1.0]), jax.jit(update)
    state = optimizer.init(w)
    for wall in (0.0, 0.0, 1e6):
        updates, state = update(w, state, wall)
        w = w + updates
    assert not jnp.any(updates) and not optaxls.metrics(state)["accepted"]
    assert not jnp.any(state.pair.curvatures)
    # A failed search has no pair that could be skipped.
    assert optaxls.metrics(state)["num_skipped"] == 0
    updates, state = update(w, state, 0.0)
    grad = jax.grad(loss)(w, 0.0)
    along = updates / optaxls.metrics(state)["step_size"]
    np.testing.assert_allclose(
        along, -grad / max(1.0, float(jnp.linalg.norm(grad))), rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("offset", [pytest.param(0.0, marks=pytest.mark.slow), 1e4])
def test_float32_ends_at_its_rounding_error_and_says_whether_it_converged(offset):
    loss, start = rosenbrock(10)
    result = run(lambda w: loss(w) + offset, start, tolerance=1e-7)
    assert result.num_steps < 400
    optimality = jnp.max(jnp.abs(jax.grad(loss)(result.params)))
    assert result.converged == (optimality <= 1e-7)
    reason = optaxls.StopReason(int(result.stop_reason)).name
    assert reason == ("CONVERGED" if result.converged else "STALLED")
    assert loss(result.params) < 1e-4 * (1 + offset)


@pytest.mark.slow
def test_bfloat16_params_and_leaves_of_every_kind():
    params = {"a": jnp.zeros(2, jnp.bfloat16), "z": jnp.zeros(1, jnp.complex64)}
    params |= {"b": jnp.zeros(()), "count": jnp.array([7]), "none": None}

    def loss(p):
        a = p["a"].astype(jnp.float32)
        z = jnp.sum(jnp.abs(p["z"] - (1 + 2j)) ** 2)
        return jnp.sum((a - 3) ** 2) + 4 * z + jnp.cosh(p["b"] - 1)

    result = run_tree(loss, params)
    assert result.converged
    np.testing.assert_allclose(result.params["z"], [1 + 2j], atol=1e-3)
    assert result.params["a"].tolist() == [3, 3]
    assert result.params["a"].dtype == jnp.bfloat16
    assert result.params["count"].tolist() == [7]


def run_tree(loss, params):
    return optaxls.minimize(loss, params, optaxls.lbfgs(), tolerance=1e-3)


def test_one_example_is_fitted():
    x, y = jnp.array([0.3, -2.0, 1.0]), 5.0
    result = run(lambda w: (x @ w - y) ** 2, np.zeros(3), tolerance=1e-5)
    assert result.converged and result.num_steps <= 3
    assert x @ result.params == pytest.approx(y)
