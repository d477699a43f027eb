"""VON and iBLR against NumPy, known posteriors, and losses that are not convex."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from optaxls.directions.natural._full import init_full, natural_direction, objective
from optaxls.optimizers.variational.full import _numbers, gaussian_rule

X = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 0.3], [0.1, 1.5], [1.2, -0.7]])
Y = np.array([1.0, -1.0, 1.0, 1.0, -1.0])


def loss(w):
    return jnp.mean(jnp.logaddexp(0.0, -Y * (X @ w)))


def derivatives(w):
    """Gradient and Hessian of the loss, in NumPy."""
    right = 1 / (1 + np.exp(-Y * (X @ w)))
    grad = -((1 - right) * Y) @ X / len(Y)
    return grad, (X.T * (right * (1 - right))) @ X / len(Y)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["von", "iblr"])
def test_steps_are_the_formulas(name):
    """Order included: the mean moves by the new precision in VON, the old in iBLR."""
    with jax.enable_x64(True):
        optimizer = getattr(optaxls, name)(
            ess=5, prior_precision=2.0, learning_rate=0.4, hessian_init=0.5
        )
        step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=3))
        w = jnp.zeros(2)
        state, mean, s = optimizer.init(w), np.zeros(2), 0.9 * np.eye(2)
        for _ in range(6):
            noise = np.asarray(optaxls.posterior_sample(state, w, 3) - w)
            w, state, *_ = step(w, state)
            pairs = [derivatives(mean + e) for e in noise]
            grad, hessian = (np.mean(part, 0) for part in zip(*pairs, strict=True))
            grad, change = grad + 0.4 * mean, hessian + 0.4 * np.eye(2) - s
            new = s + 0.4 * change
            if name == "iblr":
                new = new + 0.08 * change @ np.linalg.solve(s, change)
            by = new if name == "von" else s
            mean, s = mean - 0.4 * np.linalg.solve(by, grad), new
            np.testing.assert_allclose(w, mean, rtol=0, atol=1e-9)
            found = np.asarray(state.factor @ state.factor.T)
            np.testing.assert_allclose(found, s, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_quadratic_is_solved_by_one_step_of_von():
    a = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    optimizer = optaxls.von(ess=10, prior_precision=1.0, learning_rate=1.0)
    step = optaxls.make_vi_step(
        lambda p: 0.5 * (p["w"] - 1) @ a @ (p["w"] - 1), optimizer, num_samples=200
    )
    params = {"w": jnp.array([3.0, -2.0]), "count": jnp.array(3)}
    result = step(params, optimizer.init(params))
    precision = a + 0.1 * jnp.eye(2)
    factor = result.opt_state.factor
    np.testing.assert_allclose(factor @ factor.T, precision, rtol=1e-5)
    exact = np.linalg.solve(precision, a @ np.ones(2))
    # Exact but for the mean of the noise.
    np.testing.assert_allclose(result.params["w"], exact, atol=0.1)
    assert result.params["count"] == 3


def double_well(w):
    """Curvature -1 at 0, minima at -1 and 1."""
    return jnp.sum((w**2 - 1) ** 2) / 4


@pytest.mark.slow
def test_where_von_has_no_precision_it_makes_no_step_and_iblr_goes_on():
    w = jnp.array([0.05])
    found = {}
    for name in ("von", "iblr"):
        optimizer = getattr(optaxls, name)(ess=1e4, learning_rate=0.9)
        step = optaxls.make_vi_step(double_well, optimizer)
        found[name] = step(w, optimizer.init(w))
    refused = found["von"]
    assert not refused.metrics["accepted"] and refused.metrics["step_size"] == 0
    np.testing.assert_array_equal(refused.params, w)
    assert found["iblr"].metrics["accepted"]
    assert found["iblr"].opt_state.factor[0, 0] > 0


def test_the_factor_stays_one_where_float32_would_lose_the_product():
    """Curvatures eight orders apart: the product S in float32 is not definite."""
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    hessian = (basis * np.array([1e4, 1.0, 1e-2, 1e-4])) @ basis.T
    optimizer = optaxls.iblr(ess=1.0, prior_precision=1e-5, learning_rate=0.5)
    w = jnp.zeros(4)
    state = optimizer.init(w)
    update = jax.jit(lambda s: optimizer.update(w, s, w, hessian=jnp.array(hessian)))
    for _ in range(60):
        _, state = update(state)
    assert jnp.all(jnp.diagonal(state.factor) > 0)
    sizes = np.linalg.svd(np.asarray(state.factor, np.float64), compute_uv=False) ** 2
    # The eigenvalues above the rounding error of the given Hessian.
    np.testing.assert_allclose(sizes[:2], [1e4, 1.0], rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["von", pytest.param("iblr", marks=pytest.mark.slow)])
def test_the_search_has_the_exact_gradient_of_what_it_tests(name):
    with jax.enable_x64(True):
        numbers, rule = _numbers(5.0, 2.0, 0.5), gaussian_rule(name, None)
        w = jnp.array([0.3, -0.2])
        state = init_full(name, numbers, 1, rule, w)
        samples = optaxls.posterior_sample(state, w, 4)
        every = jax.vmap(jax.grad(loss))(samples)
        found = objective(
            state, w, value=jnp.mean(jax.vmap(loss)(samples)), value_fn=loss,
            grads=jnp.mean(every, 0), sample_grads=every, num_samples=4,
        )  # fmt: skip
        at = natural_direction(state, w, jnp.mean(every, 0), jnp.eye(2))
        here = at._replace(mean=w, factor=state.factor)
        value, grad = jax.value_and_grad(found.value_fn)(here)
        np.testing.assert_allclose(found.value, value, atol=1e-12)
        np.testing.assert_allclose(found.grad.mean, grad.mean, atol=1e-12)
        lower = np.tril(grad.factor)
        np.testing.assert_allclose(np.tril(found.grad.factor), lower, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["von", "iblr"])
def test_a_search_lowers_the_negative_elbo_of_its_samples(name):
    optimizer = getattr(optaxls, name)(ess=5, learning_rate=None)
    step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=16))
    w = jnp.array([4.0, -4.0])
    state = optimizer.init(w)
    for _ in range(8):
        w, state, _, _, report = step(w, state)
        assert report["num_trials"] >= 1 and 0 < report["step_size"] <= 1
        assert report["trial_value"] < report["value"]


@pytest.mark.slow
def test_predictions_are_those_of_the_exact_posterior():
    """Logistic regression in two dimensions: a grid knows the answer."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((60, 2))
    y = np.where(rng.random(60) < 1 / (1 + np.exp(-x @ [1.5, -1.0])), 1.0, -1.0)

    def mean_loss(w):
        return jnp.mean(jnp.logaddexp(0.0, -y * (x @ w)))

    optimizer = optaxls.von(ess=60, learning_rate=lambda count: 1 / (1 + count / 4))
    step = optaxls.make_vi_step(mean_loss, optimizer, num_samples=32)
    w = jnp.zeros(2)

    def body(carry, _):
        return step(*carry)[:2], None

    run = jax.jit(lambda c: jax.lax.scan(body, c, length=60))
    (w, state), _ = run((w, optimizer.init(w)))
    samples = optaxls.posterior_sample(state, w, 4000, key=5)

    axis = np.linspace(-2.0, 5.0, 281)
    grid = np.stack(np.meshgrid(axis, axis - 3.5, indexing="ij"), -1).reshape(-1, 2)
    log = -np.logaddexp(0, -(grid @ x.T) * y).sum(1) - (grid**2).sum(1) / 2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    at = rng.standard_normal((40, 2)) * 3
    exact = weight @ (1 / (1 + np.exp(-grid @ at.T)))
    ours = np.mean(1 / (1 + np.exp(-np.asarray(samples) @ at.T)), 0)
    assert np.abs(ours - exact).max() < 0.02
    # The plug-in prediction is further off: the width of the posterior counts.
    plug_in = 1 / (1 + np.exp(-at @ np.asarray(w)))
    assert np.abs(ours - exact).mean() < np.abs(plug_in - exact).mean() / 2


@pytest.mark.slow
def test_predictions_are_those_of_nuts():
    """Logistic regression in five dimensions, by blackjax and by both rules."""
    blackjax = pytest.importorskip("blackjax")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 5))
    likely = 1 / (1 + np.exp(-x @ [0.5, 1.5, -1.0, 0.5, 0.0]))
    y = np.where(rng.random(100) < likely, 1.0, -1.0)
    at = rng.standard_normal((40, 5)) * 2

    def mean_loss(w):
        return jnp.mean(jnp.logaddexp(0.0, -y * (x @ w)))

    def log_density(w):
        return -100 * mean_loss(w) - w @ w / 2

    def predicted(samples):
        return 1 / (1 + np.exp(-np.asarray(samples) @ at.T))

    # Steps of half a standard deviation of the posterior.
    kernel = blackjax.nuts(log_density, 0.5, 0.08 * np.ones(5))

    def drawn(state, key):
        state, _ = kernel.step(key, state)
        return state, state.position

    keys = jax.random.split(jax.random.key(0), 3100)
    walk = jax.jit(lambda state: jax.lax.scan(drawn, state, keys)[1])
    nuts = predicted(walk(kernel.init(jnp.zeros(5)))[100:])
    # Draws depend on one another: the error is that of means of a hundred in turn.
    error = nuts.reshape(30, 100, 40).mean(1).std(0, ddof=1) / np.sqrt(30)

    for name in ("von", "iblr"):
        optimizer = getattr(optaxls, name)(
            ess=100, learning_rate=lambda count: 1 / (1 + count / 4)
        )
        step = jax.jit(optaxls.make_vi_step(mean_loss, optimizer, num_samples=32))
        w = jnp.zeros(5)
        state = optimizer.init(w)
        for _ in range(200):
            w, state, *_ = step(w, state)
        ours = predicted(optaxls.posterior_sample(state, w, 4000, key=5))
        own = ours.std(0) / np.sqrt(4000)
        gap = np.abs(ours.mean(0) - nuts.mean(0))
        # 0.005 is for the noise of the steps and a posterior that is not a Gaussian.
        assert np.all(gap < 3 * np.hypot(error, own) + 0.005), name
        plug_in = np.abs(predicted(w[None])[0] - nuts.mean(0))
        assert gap.mean() < plug_in.mean() / 5, name


def test_large_models_are_refused_with_the_bytes():
    optimizer = optaxls.von(ess=10)
    with pytest.raises(ValueError, match=r"von: .*20000 params needs 8000000000 bytes"):
        optimizer.init({"w": jnp.zeros((200, 100))})


def test_a_known_hessian_takes_the_place_of_the_loss():
    optimizer, w = optaxls.von(ess=5, learning_rate=1.0), jnp.zeros(2)
    state = optimizer.init(w)
    hessian = jnp.array([[2.0, 0.0], [0.0, 3.0]])
    updates, new = optimizer.update(jnp.ones(2), state, w, hessian=hessian)
    np.testing.assert_allclose(updates, -1 / np.array([2.2, 3.2]), rtol=1e-5)
    np.testing.assert_allclose(new.factor**2, hessian + 0.2 * jnp.eye(2), rtol=1e-5)
    with pytest.raises(TypeError, match=r"hessian must have the shape \(2, 2\)"):
        optimizer.update(w, state, w, hessian=jnp.ones(2))
    with pytest.raises(TypeError, match="von: update.. needs 'value_fn'"):
        optimizer.update(w, state, w)
    searched = optaxls.von(ess=5, learning_rate=None)
    with pytest.raises(TypeError, match="a search cannot use hessian"):
        searched.update(
            w, searched.init(w), w, hessian=hessian, value=0.0, value_fn=loss
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["von", "iblr"])
@pytest.mark.parametrize("rate", [0.1, None])
def test_a_bad_batch_makes_no_step_and_leaves_the_precision(name, rate):
    optimizer = getattr(optaxls, name)(ess=5, learning_rate=rate)
    step = jax.jit(
        optaxls.make_vi_step(lambda w, c: c * loss(w), optimizer, num_samples=2)
    )
    w = jnp.ones(2)
    w, state, *_ = step(w, optimizer.init(w), 1.0)
    after = step(w, state, jnp.nan)
    np.testing.assert_array_equal(after.params, w)
    np.testing.assert_array_equal(after.opt_state.factor, state.factor)
    assert after.opt_state.num_draws == state.num_draws + 1
    assert not after.metrics["accepted"] and after.metrics["step_size"] == 0
    assert jnp.isfinite(step(*after[:2], 1.0).value)
