"""``make_surrogate_step``: what its inner steps minimise, and what it counts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)
Y = jnp.array([1.0, -2.0, 0.5, 0.0, 3.0])
START = {"in": jnp.eye(3), "out": jnp.array([0.3, -0.2, 0.1])}


def predict(params, x, y):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def linear(w, x, y):
    return x @ w


def costly(z, x, y):
    return jnp.mean(jnp.cosh(z - y))


def searched():
    return optaxls.sls(steps_per_epoch=1, decrease_factor=0.5)


def built(predict_fn=linear, loss_fn=costly, optimizer=None, **given):
    given = {"inner_steps": 4, "step_size": 0.5} | given
    optimizer = searched() if optimizer is None else optimizer
    return optaxls.make_surrogate_step(predict_fn, loss_fn, optimizer, **given)


@pytest.mark.slow
@pytest.mark.parametrize("step_size", [0.01, 7.0])
def test_one_inner_step_of_gradient_descent_is_sgd(step_size):
    optimizer = optax.sgd(0.3, momentum=0.9)
    plain = optaxls.make_step(lambda p, x, y: costly(predict(p, x, y), x, y), optimizer)
    step = jax.jit(
        built(predict, optimizer=optimizer, inner_steps=1, step_size=step_size)
    )
    ours = theirs = (START, optimizer.init(START))
    for rows in (slice(0, 4), slice(1, 5)):
        found, wanted = step(*ours, X[rows], Y[rows]), plain(*theirs, X[rows], Y[rows])
        ours, theirs = found[:2], wanted[:2]
        np.testing.assert_allclose(found.value, wanted.value, rtol=1e-6)
        for key in START:
            np.testing.assert_allclose(
                found.params[key], wanted.params[key], rtol=1e-5, atol=1e-7
            )
    assert found.metrics["num_inner_steps"] == 1 and found.metrics["num_trials"] == 0


@pytest.mark.slow
def test_the_inner_steps_are_those_on_the_surrogate_written_out():
    optimizer, eta = searched(), 0.5
    step = built(predict, optimizer=optimizer, tolerance=0.0)
    state = optimizer.init(START)
    z0 = predict(START, X, Y)
    g = jnp.sinh(z0 - Y) / len(Y)

    def surrogate(params):
        change = predict(params, X, Y) - z0
        bound = jnp.sum(g**2) * len(Y) * eta / 2
        return g @ change + change @ change / (2 * len(Y) * eta) + bound

    inner = jax.jit(optaxls.make_step(surrogate, optimizer))
    params, inner_state, trials = START, state, 0
    for _ in range(4):
        params, inner_state, _, _, report = inner(params, inner_state)
        trials += int(report["num_trials"])
    found = jax.jit(step)(START, state, X, Y)
    assert found.metrics["num_trials"] == trials > 4
    assert found.metrics["num_inner_steps"] == 4
    assert found.metrics["num_evaluations"] == 1 + 4 + trials
    assert found.value == pytest.approx(float(costly(z0, X, Y)))
    for key in START:
        np.testing.assert_allclose(found.params[key], params[key], rtol=1e-4, atol=1e-6)
    # The state goes on from one step to the next.
    np.testing.assert_allclose(
        found.metrics["step_size"], optaxls.metrics(inner_state)["step_size"]
    )


@pytest.mark.slow
def test_predictions_end_where_a_gradient_step_of_each_example_leads():
    """And the inner steps end as soon as they are there, or make none."""
    x, y = X[:3], Y[:3]
    optimizer = optaxls.lbfgs()
    step = jax.jit(
        built(optimizer=optimizer, inner_steps=60, step_size=0.2, tolerance=1e-5)
    )
    found = step(jnp.zeros(3), optimizer.init(jnp.zeros(3)), x, y)
    np.testing.assert_allclose(x @ found.params, 0.2 * jnp.sinh(y), atol=1e-3)
    assert 0 < found.metrics["num_inner_steps"] < 60
    assert found.metrics["inner_optimality"] <= 1e-5
    exact = jnp.linalg.solve(x, y)
    rest = step(exact, found.opt_state, x, x @ exact)
    assert rest.metrics["num_inner_steps"] == rest.metrics["num_trials"] == 0
    np.testing.assert_array_equal(rest.params, exact)


def test_the_loss_is_evaluated_once_a_step():
    calls = []

    def simulated(z):
        calls.append(None)
        return np.float32(np.mean(z**2)), (2 * z / len(z)).astype(np.float32)

    def both(z):
        return jax.pure_callback(simulated, (jnp.zeros(()), jnp.zeros_like(z)), z)

    loss = jax.custom_vjp(lambda z, x, y: both(z)[0])
    loss.defvjp(
        lambda z, x, y: both(z), lambda grad, cotangent: (cotangent * grad, None, None)
    )
    step, state = jax.jit(built(loss_fn=loss)), searched().init(jnp.ones(3))
    result = step(jnp.ones(3), state, X, Y)
    jax.block_until_ready(result)
    assert len(calls) == 1 and result.metrics["num_trials"] >= 4
    assert step(*result[:2], X, Y).value < result.value


def test_a_loss_that_is_not_finite_gives_no_step_and_spoils_nothing():
    def loss(z, x, y):
        fault = jnp.where(y[0] == 7.0, jnp.nan, 1.0)
        return costly(z, x, y) * jnp.where(y[0] == 8.0, jnp.inf, fault)

    step = jax.jit(built(loss_fn=loss, step_size=0.02))
    first = step(jnp.ones(3), searched().init(jnp.ones(3)), X, Y)
    missed = first
    for fault in (7.0, 8.0):
        missed = step(*missed[:2], X, Y.at[0].set(fault))
        np.testing.assert_array_equal(missed.params, first.params)
    after, wanted = step(*missed[:2], X, Y), step(*first[:2], X, Y)
    np.testing.assert_array_equal(after.params, wanted.params)
    assert np.all(np.isfinite(after.params)) and after.metrics["accepted"]


@pytest.mark.slow
def test_runs_under_scan_and_vmap_with_trees_of_low_precision():
    optimizer = searched()

    def both(w, x, y):
        z = (x @ w).astype(jnp.bfloat16)
        return {"z": z, "twice": 2 * z, "rows": jnp.arange(len(y))}

    def loss(z, x, y):
        return jnp.mean((z["z"] - y) ** 2 + (z["twice"] - 2 * y) ** 2)

    step = built(both, loss, step_size=0.1)

    def train(w):
        def body(carry, _):
            found = step(*carry, X, Y)
            return found[:2], (found.value, found.metrics["num_trials"])

        return jax.lax.scan(body, (w, optimizer.init(w)), length=3)

    starts = jnp.stack([jnp.zeros(3), jnp.ones(3)])
    (params, _), (values, trials) = jax.jit(jax.vmap(train))(starts)
    alone = jax.jit(train)(starts[1])
    np.testing.assert_allclose(params[1], alone[0][0], rtol=1e-2)
    assert values.dtype == jnp.float32 and trials.dtype == jnp.int32
    assert np.all(np.diff(values, axis=1) < 0)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"inner_steps": 0}, ValueError, "inner_steps must be an integer >= 1"),
        ({"step_size": 0.0}, ValueError, r"step_size must lie in \(0, inf\)"),
        ({"tolerance": -1.0}, ValueError, "tolerance must lie in"),
        ({"predict_fn": 3}, TypeError, "predict_fn must be a function"),
        ({"loss_fn": optax.sgd(0.1)}, TypeError, "prediction_loss_fn must be"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be an optax optimizer"),
    ],
)
def test_refuses_at_construction(given, error, text):
    with pytest.raises(error, match=text):
        built(**given)


@pytest.mark.parametrize(
    ("predict_fn", "loss_fn", "error", "text"),
    [
        (lambda w, x, y: jnp.sum(x @ w), costly, ValueError, "axis of examples"),
        (lambda w, x, y: jnp.arange(3), costly, TypeError, "floating-point"),
        (linear, lambda z, x, y: z, ValueError, "prediction_loss_fn returns"),
    ],
)
def test_refuses_what_is_no_loss_of_predictions(predict_fn, loss_fn, error, text):
    with pytest.raises(error, match=text):
        built(predict_fn, loss_fn)(jnp.ones(3), searched().init(jnp.ones(3)), X, Y)
