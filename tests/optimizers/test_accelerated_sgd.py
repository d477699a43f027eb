"""Accelerated SGD: the three sequences in NumPy, and the params that it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from examples.talk.problems_rates import constants, descents, examples_drawn

START = jnp.array([1.0, -2.0])
BATCHES = np.random.default_rng(0).uniform(0, 3, (8, 2))


def run(optimizer, batches):
    """Params and params to keep after each batch of curvatures."""
    step = jax.jit(optaxls.make_step(lambda y, a: a @ y**2 / 2, optimizer))
    y, state, found = START, optimizer.init(START), []
    for curvatures in batches:
        y, state, *_ = step(y, state, jnp.asarray(curvatures, jnp.float32))
        found.append((y, optaxls.eval_params(state, y)))
    return found, state


def test_it_is_the_loop_of_three_sequences():
    rho, smoothness, mu = 3.0, 2.0, 0.5
    step_size = 1 / (rho * smoothness)
    s = np.sqrt(mu * step_size / rho)
    batches = np.random.default_rng(0).uniform(0, 3, (8, 2))
    optimizer = optaxls.accelerated_sgd(
        growth_constant=rho, smoothness=smoothness, strong_convexity=mu
    )
    y = v = np.asarray(START)
    for (found, kept), curvatures in zip(run(optimizer, batches)[0], batches):  # noqa: B905
        grad = curvatures * y
        w = y - step_size * grad
        v = (1 - s) * v + s * y - s / mu * grad
        y = (s * v + w) / (1 + s)
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(kept, w, rtol=1e-4, atol=1e-6)


def sequences(batches, rho, step_sizes, mu=0.0, restart=False):
    """The three sequences in float64; yields y and w after each batch."""
    y = v = w = np.asarray(START, np.float64)
    t = 1.0
    for curvatures, step_size in zip(batches, step_sizes, strict=True):
        grad = np.asarray(curvatures, np.float64) * y
        before, w = w, y - step_size * grad
        if restart and grad @ (w - before) > 0:
            v, t = w, 1.0
            y = w
        elif mu:
            s = min(np.sqrt(mu * step_size / rho), 1.0)
            v = (1 - s) * v + s * y - s / mu * grad
            y = (s * v + w) / (1 + s)
        else:
            v = v - t * step_size / rho * grad
            t = (1 + np.sqrt(1 + 4 * t**2)) / 2
            y = v / t + (1 - 1 / t) * w
        yield y, w


def assert_follows(found, expected, rtol=1e-4):
    for (y, kept), (wanted, w) in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, wanted, rtol=rtol, atol=1e-6)
        np.testing.assert_allclose(kept, w, rtol=rtol, atol=1e-6)


def test_without_strong_convexity_the_momentum_grows():
    optimizer = optaxls.accelerated_sgd(growth_constant=3.0, smoothness=2.0)
    found, state = run(optimizer, BATCHES)
    assert_follows(found, sequences(BATCHES, 3.0, [1 / 6] * 8))
    assert state.pair.num_restarts == 0
    assert 1 / state.pair.anchor_weight > 4


def lipschitz_steps(batches, factor=0.5):
    """The longest step of the halved grid with f(w+) <= f(y) - step |g|^2 / 2, in the
    last one's footsteps: on a diagonal quadratic it needs no trial to be told."""
    y = yield
    step_size = 1.0
    for curvatures in batches:
        grad = np.asarray(curvatures) * y
        bend = (curvatures * grad) @ grad
        while step_size * bend > (1 + 1e-6) * (grad @ grad):
            step_size *= factor
        y = yield step_size


@pytest.mark.slow
@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_the_search_finds_the_step_size_that_all_sequences_take(mu):
    batches = BATCHES + 0.5
    optimizer = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=None, strong_convexity=mu
    )
    step = jax.jit(optaxls.make_step(lambda y, a: a @ y**2 / 2, optimizer))
    y, state, found, steps = START, optimizer.init(START), [], []
    oracle = lipschitz_steps(batches)
    next(oracle)
    for curvatures in batches:
        wanted = oracle.send(np.asarray(y, np.float64))
        y, state, *_, report = step(y, state, jnp.asarray(curvatures, jnp.float32))
        assert report["step_size"] == wanted
        assert report["accepted"] and report["num_trials"] >= 1
        # The search tests w+, not the y that is trained next.
        assert jnp.isnan(report["trial_value"])
        found.append((y, optaxls.eval_params(state, y)))
        steps.append(wanted)
    assert len(set(steps)) > 1
    assert_follows(found, sequences(batches, 2.0, steps, mu))


def test_restarts_are_those_of_the_gradient_scheme():
    """And make the method fast that does not know how convex the loss is."""
    batches = [[1.0, 0.01]] * 300
    known = {"growth_constant": 1.0, "smoothness": 1.0}
    with_restarts, state = run(optaxls.accelerated_sgd(**known, restart=True), batches)
    assert_follows(
        with_restarts[:60], sequences(batches[:60], 1.0, [1.0] * 60, restart=True), 1e-3
    )
    assert state.pair.num_restarts >= 3
    without, _ = run(optaxls.accelerated_sgd(**known), batches)
    lengths = [float(jnp.abs(found[-1][1]).max()) for found in (with_restarts, without)]
    assert lengths[0] < 1e-3 * lengths[1]


@pytest.mark.slow
def test_a_failed_search_moves_no_sequence_and_the_next_one_all():
    optimizer = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=None, strong_convexity=0.1
    )
    loss = lambda y: jnp.sum(y**2) / 2  # noqa: E731
    given = {"value": loss(START), "grad": START}
    state = optimizer.init(START)
    updates, failed = jax.jit(
        lambda s: optimizer.update(START, s, START, value_fn=lambda y: 9.0, **given)
    )(state)
    report = optaxls.metrics(failed)
    assert report["num_trials"] == 101 and not report["accepted"]
    np.testing.assert_array_equal(updates, 0)
    for old, new in zip(state.pair, failed.pair, strict=True):
        np.testing.assert_array_equal(old, new)
    after = failed
    for _ in range(2):  # the first of them still begins where the failed one stopped
        updates, after = jax.jit(
            lambda s: optimizer.update(START, s, START, value_fn=loss, **given)
        )(after)
    assert optaxls.metrics(after)["step_size"] == 1.0 and jnp.all(updates != 0)
    assert jnp.all(after.pair.anchor != state.pair.anchor)


def test_in_bfloat16_the_anchor_keeps_what_the_params_round_away():
    params = START.astype(jnp.bfloat16)
    optimizer = optaxls.accelerated_sgd(growth_constant=50.0, smoothness=2.0)
    step = jax.jit(optaxls.make_step(lambda y: jnp.sum(y.astype(jnp.float32) ** 2),
                                     optimizer))  # fmt: skip
    state = optimizer.init(params)
    for _ in range(3):
        params, state, *_ = step(params, state)
    assert params.dtype == jnp.bfloat16
    assert optaxls.eval_params(state, params).dtype == jnp.bfloat16
    assert state.pair.anchor.dtype == jnp.float32
    assert jnp.all(state.pair.anchor.astype(jnp.bfloat16) != state.pair.anchor)


@pytest.mark.parametrize("smoothness", [1.0, None])
def test_at_the_minimum_nothing_moves(smoothness):
    optimizer = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=smoothness, restart=True
    )
    zero = jnp.zeros(2)
    result = optaxls.make_step(lambda y: jnp.sum(y**2), optimizer)(
        zero, optimizer.init(zero)
    )
    np.testing.assert_array_equal(result.params, zero)
    assert result.metrics["step_size"] == 0 and not result.metrics["accepted"]


@pytest.mark.slow
def test_least_squares_in_mini_batches_takes_a_tenth_of_the_steps_of_sgd():
    """A set-up that the talk does not name: kappa 1e3, rows in batches of 64."""
    rows = np.random.default_rng(0).standard_normal((500, 10))
    rows *= np.geomspace(1, 1e3**-0.5, 10)
    x, known = jnp.asarray(rows), constants(rows)
    growth = 1 + (known.growth - 1) / 64
    given = {"growth_constant": growth, "strong_convexity": known.mu}
    ours = [
        optaxls.accelerated_sgd(smoothness=smoothness, **given)
        for smoothness in (known.smoothness, None)
    ]
    methods = [optax.sgd(1 / (growth * known.smoothness)), *ours]

    def fallen(optimizer, steps):
        """The loss after so many steps, as a share of the first."""
        found = descents(
            lambda w, batch: jnp.mean((x[batch] @ (w - 1)) ** 2) / 2,
            lambda _: optimizer, np.zeros(1), np.zeros((1, 10)),
            examples_drawn(500, 1, steps, 64),
            full_loss=lambda w: jnp.mean((x @ (w - 1)) ** 2) / 2, every=steps,
        )  # fmt: skip
        return found[0, 1] / found[0, 0]

    with jax.enable_x64(True):
        x = x.astype(jnp.float64)
        plain, given_step, searched = map(fallen, methods, (15000, 6000, 1500))
    assert given_step < 1e-6 and searched < 1e-6
    assert plain > 1e-4


def test_without_noise_it_is_nesterovs_momentum():
    s = np.sqrt(0.1)
    ours = optaxls.accelerated_sgd(
        growth_constant=1.0, smoothness=1.0, strong_convexity=0.1
    )
    usual = optax.sgd(1.0, momentum=(1 - s) / (1 + s), nesterov=True)
    batches = [[0.1, 1.0]] * 10
    for (y, _), (z, _) in zip(
        run(ours, batches)[0], run(usual, batches)[0], strict=True
    ):
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-6)


def test_a_batch_that_is_not_finite_moves_no_sequence():
    optimizer = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=1.0, strong_convexity=0.1
    )
    good, nan = [1.0, 0.5], [np.nan, 1.0]
    with_nan, _ = run(optimizer, [good, nan, good])
    without, state = run(optimizer, [good, good])
    np.testing.assert_array_equal(with_nan[1], with_nan[0])
    np.testing.assert_array_equal(with_nan[2], without[1])
    assert optaxls.metrics(state)["step_size"] == 0.5


def test_other_optimizers_keep_what_they_train():
    state = optax.adam(0.1).init(START)
    assert optaxls.eval_params(state, START) is START
    twice = optaxls.accelerated_sgd(
        growth_constant=2.0, smoothness=1.0, strong_convexity=0.1
    )
    with pytest.raises(ValueError, match="holds 2 of them"):
        optaxls.eval_params((twice.init(START), twice.init(START)), START)


def test_strong_convexity_is_at_most_smoothness():
    with pytest.raises(ValueError, match=r"strong_convexity must lie in \[0, 1.0\]"):
        optaxls.accelerated_sgd(
            growth_constant=2.0, smoothness=1.0, strong_convexity=1.5
        )


@pytest.mark.slow
def test_with_growth_the_step_size_comes_back_after_batches_that_no_step_fits():
    """After one batch it does so without."""
    sizes = {}
    for growth in (1.0, 1.5):
        optimizer = optaxls.accelerated_sgd(
            growth_constant=1.0, smoothness=None, growth=growth
        )
        batches = [[1.0, 0.5]] * 5 + [[1e4, 1e4]] * 3 + [[1.0, 0.5]] * 40
        _, state = run(optimizer, batches)
        sizes[growth] = float(optaxls.metrics(state)["step_size"])
    assert sizes[1.0] < 1e-3 and sizes[1.5] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("strong_convexity", [0.0, 0.5])
@pytest.mark.parametrize("smoothness", [2.0, None])
def test_constants_that_are_known_in_a_step_only(strong_convexity, smoothness):
    """``inject_hyperparams`` makes arrays of all numbers, also of mu = 0."""
    given = {"growth_constant": 3.0, "strong_convexity": strong_convexity}
    given["smoothness"] = smoothness
    injected = optax.inject_hyperparams(optaxls.accelerated_sgd)(**given)
    found, _ = run(injected, BATCHES)
    wanted, _ = run(optaxls.accelerated_sgd(**given), BATCHES)
    np.testing.assert_allclose(found[-1], wanted[-1], rtol=1e-5)
