"""IVON and VOGN against NumPy, against the authors' code, and where they may break."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from optaxls.directions.natural._diagonal import averaged, kept_positive

NAN = float("nan")
GOLDEN = pathlib.Path(__file__).parents[2] / "goldens" / "ivon.npz"


def logistic():
    """20 examples in 4 dimensions, labels of -1 and 1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4))
    likely = 1 / (1 + np.exp(-x @ np.array([1.0, -2.0, 0.5, 0.0])))
    return x, np.where(rng.random(20) < likely, 1.0, -1.0)


def loss(w, x, y):
    return jnp.mean(jnp.logaddexp(0.0, -y * (x @ w)))


def trajectory(optimizer, num_steps, num_samples):
    """Means, precisions, and what the samples of each step were off the mean."""
    x, y = map(jnp.asarray, logistic())
    step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=num_samples))
    w = jnp.zeros(4)
    state, found = optimizer.init(w), []
    for _ in range(num_steps):
        noise = optaxls.posterior_sample(state, w, num_samples) - w
        w, state, *_ = step(w, state, x, y)
        found.append([np.asarray(a) for a in (w, state.pair.precision, noise)])
    return [np.array(series) for series in zip(*found, strict=True)]


def gradients(w, x, y):
    """Of all examples, in NumPy."""
    return -(y / (1 + np.exp(y * (x @ w))))[:, None] * x


@pytest.mark.slow
@pytest.mark.parametrize(
    "clip_radius", [float("inf"), pytest.param(0.1, marks=pytest.mark.slow)]
)
def test_ivon_is_the_published_arithmetic(clip_radius):
    with jax.enable_x64(True):
        optimizer = optaxls.ivon(
            ess=20, prior_precision=2.0, learning_rate=0.3, b1=0.8, b2=0.9,
            hessian_init=0.5, clip_radius=clip_radius, key=7,
        )  # fmt: skip
        means, precisions, noises = trajectory(optimizer, 12, 2)
    x, y = logistic()
    ess, decay = 20.0, 2.0 / 20
    mean, momentum, h = np.zeros(4), np.zeros(4), np.full(4, 0.5)
    for t in range(12):
        grads = np.array([gradients(mean + e, x, y).mean(0) for e in noises[t]])
        f = (noises[t] * grads).mean(0) * (h + decay) * ess
        h = 0.9 * h + 0.1 * f + 0.5 * 0.1**2 * (h - f) ** 2 / (h + decay)
        momentum = 0.8 * momentum + 0.2 * grads.mean(0)
        step = (momentum / (1 - 0.8 ** (t + 1)) + decay * mean) / (h + decay)
        step = np.clip(step, -clip_radius, clip_radius)
        mean = mean - 0.3 * (0.5 + decay) * step
        np.testing.assert_allclose(means[t], mean, rtol=0, atol=1e-9)
        np.testing.assert_allclose(precisions[t], h + decay, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["plain", pytest.param("clipped", marks=pytest.mark.slow)]
)
def test_ivon_is_the_authors_code_on_one_trajectory(kind):
    """ivon-opt 0.1.3 with torch in float64, which was given this key's noise."""
    further = {"plain": {}, "clipped": {"clip_radius": 0.1, "b1": 0.5}}[kind]
    with jax.enable_x64(True):
        optimizer = optaxls.ivon(
            ess=20, learning_rate=0.3, b2=0.9, hessian_init=0.5, **further
        )
        means, precisions, _ = trajectory(optimizer, 30, 2)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(means, golden[f"{kind}_mean"], 0, 1e-9)
        found = golden[f"{kind}_hessian"]
    np.testing.assert_allclose(precisions - 1 / 20, found, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_vogn_is_its_formula():
    with jax.enable_x64(True):
        optimizer = optaxls.vogn(
            ess=20, prior_precision=2.0, learning_rate=0.3, b1=0.8, b2=0.9
        )
        means, precisions, noises = trajectory(optimizer, 8, 2)
    x, y = logistic()
    decay, mean, momentum, s = 0.1, np.zeros(4), np.zeros(4), np.full(4, 1.1)
    for t in range(8):
        each = np.concatenate([gradients(mean + e, x, y) for e in noises[t]])
        s = 0.9 * s + 0.1 * ((each**2).mean(0) + decay)
        momentum = 0.8 * momentum + 0.2 * each.mean(0)
        mean = mean - 0.3 * (momentum / (1 - 0.8 ** (t + 1)) + decay * mean) / s
        np.testing.assert_allclose(means[t], mean, rtol=0, atol=1e-9)
        np.testing.assert_allclose(precisions[t], s, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_vogn_takes_the_gradients_of_examples_as_an_argument():
    x, y = logistic()
    optimizer = optaxls.vogn(ess=20)
    w = jnp.zeros(4)
    state = optimizer.init(w)
    sample = optaxls.posterior_sample(state, w)
    each = jax.vmap(lambda x, y: jax.grad(loss)(sample, x[None], y[None]))(x, y)
    updates, _ = optimizer.update(jnp.mean(each, 0), state, w, example_grads=each)
    by_step = optaxls.make_vi_step(loss, optimizer)(w, state, x, y)
    np.testing.assert_allclose(updates, by_step.params, rtol=1e-5)
    with pytest.raises(TypeError, match="vogn: update.. needs 'example_grads'"):
        optimizer.update(w, state, w)


positive = st.floats(2.0**-20, 2.0**20, width=32)
unit = st.floats(0.0, 1.0, width=32)


@settings(max_examples=30, deadline=None)
@given(positive, st.floats(-(2.0**20), 2.0**20, width=32), unit)
def test_the_precision_is_never_below_half_of_what_it_was(precision, target, share):
    s = np.float32(precision)
    found = kept_positive(jnp.float32(s), jnp.float32(target), np.float32(share))
    assert found >= 0.5 * s
    # To second order in the share it is s + share D + (share D)^2 / (2 s).
    change = float(np.float32(share)) * (float(np.float32(target)) - float(s))
    exact = float(s) + change + change**2 / (2 * float(s))
    assert found == pytest.approx(exact, rel=1e-5)


def test_plain_averages_of_curvatures_become_negative():
    assert averaged(jnp.float32(1.0), jnp.float32(-20.0), 0.1) < 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ivon", "vogn"])
@pytest.mark.parametrize("rate", [0.1, None])
def test_a_bad_batch_makes_no_step_and_leaves_the_precision(name, rate):
    optimizer = getattr(optaxls, name)(ess=20, learning_rate=rate)
    step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=2))
    x, y = logistic()
    w = jnp.ones(4)
    w, state, *_ = step(w, optimizer.init(w), x, y)
    after = step(w, state, x * NAN, y)
    np.testing.assert_array_equal(after.params, w)
    new, old = after.opt_state.pair, state.pair
    for field in ("precision", "momentum", "num_steps", "ess"):
        np.testing.assert_array_equal(getattr(new, field), getattr(old, field))
    # Else a bad sample of a full batch would come again and again.
    assert new.num_draws == old.num_draws + 1
    report = optaxls.metrics(after.opt_state)
    assert report["step_size"] == 0 and not report["accepted"]
    assert jnp.isfinite(step(*after[:2], x, y).value)


@pytest.mark.slow
def test_moments_are_wide_and_integers_are_held():
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "n": jnp.arange(3)}
    optimizer = optaxls.ivon(ess=10)
    state = optimizer.init(params)
    sample = optaxls.posterior_sample(state, params)
    assert sample["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(sample["n"], params["n"])
    fn = lambda p: jnp.sum(p["w"] ** 2)  # noqa: E731
    result = optaxls.make_vi_step(fn, optimizer, num_samples=3)(params, state)
    assert result.params["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(result.params["n"], params["n"])
    for leaf in (result.opt_state.pair.precision, result.opt_state.pair.momentum):
        assert leaf["w"].dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ivon", "vogn"])
def test_schedules_and_constants_are_reported(name):
    rate = optax.linear_schedule(0.4, 0.2, 2)
    for given_rate, expected in ((0.3, [0.3] * 3), (rate, [0.4, 0.3, 0.2])):
        optimizer = getattr(optaxls, name)(ess=20, learning_rate=given_rate)
        step, w = optaxls.make_vi_step(loss, optimizer), jnp.zeros(4)
        state, found = optimizer.init(w), []
        for _ in range(3):
            w, state, *_, report = step(w, state, *logistic())
            found.append(float(report["step_size"]))
        assert found == pytest.approx(expected)
        assert report["num_trials"] == 0 and report["accepted"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ivon", "vogn"])
def test_a_search_sees_the_samples_of_its_step_in_every_trial(name):
    """Along the mean: what it reports is the mean loss there, with the prior."""
    x, y = map(jnp.asarray, logistic())
    optimizer = getattr(optaxls, name)(ess=20, learning_rate=None, b1=0.0)
    w = jnp.full(4, 3.0)
    state = optimizer.init(w)
    step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=4))
    for _ in range(5):
        noise = optaxls.posterior_sample(state, w, 4) - w
        after, state, *_, report = step(w, state, x, y)
        for at, key in ((w, "value"), (after, "trial_value")):
            mean = np.mean([loss(at + e, x, y) for e in noise])
            expected = mean + 0.05 / 2 * float(at @ at)
            assert report[key] == pytest.approx(expected, rel=1e-5)
        assert report["num_trials"] >= 1 and report["accepted"]
        assert report["trial_value"] < report["value"]
        w = after


@pytest.mark.parametrize("name", ["ivon", "vogn", "von", "iblr"])
def test_wrong_arguments_are_refused(name):
    make = getattr(optaxls, name)
    with pytest.raises(TypeError, match="ess"):
        make()
    for key in ("ess", "prior_precision", "learning_rate", "hessian_init"):
        with pytest.raises(ValueError, match=key):
            make(**{"ess": 10.0} | {key: -1.0})
    with pytest.raises(TypeError, match="a key|key must be"):
        make(ess=10.0, key="zero").init(jnp.zeros(2))
    with pytest.raises(TypeError, match=r"params\['w'\] is complex"):
        make(ess=10.0).init({"w": jnp.zeros(2, complex)})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integer", "typed", "legacy", "rbg"])
def test_any_key_gives_noise_that_is_an_array_in_the_state(kind):
    key = {
        "integer": 3,
        "typed": jax.random.key(3),
        "legacy": jax.random.PRNGKey(3),
        "rbg": jax.random.key(3, impl="rbg"),
    }[kind]
    w = jnp.zeros(500)
    state = optaxls.ivon(ess=99, key=key).init(w)
    assert state.pair.key.dtype == jnp.uint32 and state.pair.key.shape == (2,)
    spread = float(jnp.std(optaxls.posterior_sample(state, w)))
    assert spread == pytest.approx(0.1, rel=0.15)
    other = optaxls.ivon(ess=99, key=4).init(w)
    assert not jnp.allclose(
        optaxls.posterior_sample(state, w), optaxls.posterior_sample(other, w)
    )


@pytest.mark.slow
def test_a_transformation_in_front_reaches_the_mean_alone():
    """Clipping makes the step short, and the precision is that without it."""
    clipped = optax.chain(optax.clip(1e-3), optaxls.ivon(ess=20, b1=0.0))
    results = []
    for optimizer in (optaxls.ivon(ess=20, b1=0.0), clipped):
        w = jnp.zeros(4)
        step = optaxls.make_vi_step(loss, optimizer, num_samples=2)
        results.append(step(w, optimizer.init(w), *logistic()))
    assert jnp.max(jnp.abs(results[1].params)) < jnp.max(jnp.abs(results[0].params)) / 9
    plain, inner = results[0].opt_state, results[1].opt_state[1]
    np.testing.assert_array_equal(plain.pair.precision, inner.pair.precision)
