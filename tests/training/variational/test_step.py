"""Samples of the posterior, and the step that takes gradients at them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls


def loss(w, x):
    return jnp.mean((x @ w["a"] + w["b"]) ** 2)


PARAMS = {"a": jnp.array([1.0, -1.0]), "b": jnp.array(0.5)}
X = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ivon", pytest.param("iblr", marks=pytest.mark.slow)])
def test_update_uses_the_very_noise_of_posterior_sample(name):
    """A step written out, from nothing but the state, is the step of make_vi_step."""
    optimizer = getattr(optaxls, name)(ess=3, learning_rate=0.2)
    state = optimizer.init(PARAMS)
    samples = optaxls.posterior_sample(state, PARAMS, 2)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], samples) for i in range(2)]
    grads = [jax.grad(loss)(sample, X) for sample in each]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), stacked)
    updates, by_hand = optimizer.update(
        mean, state, PARAMS, sample_grads=stacked, value_fn=lambda p: loss(p, X)
    )
    result = optaxls.make_vi_step(loss, optimizer, num_samples=2)(PARAMS, state, X)
    value = np.mean([loss(sample, X) for sample in each])
    assert result.value == pytest.approx(value, rel=1e-6)
    moved = optax.apply_updates(PARAMS, updates)
    for one, other in zip(
        jax.tree.leaves(moved), jax.tree.leaves(result.params), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert jax.tree.structure(by_hand) == jax.tree.structure(result.opt_state)


def test_samples_change_with_the_steps_and_not_between_them():
    optimizer = optaxls.ivon(ess=3)
    state = optimizer.init(PARAMS)
    first, again = (optaxls.posterior_sample(state, PARAMS) for _ in range(2))
    assert first["a"].shape == PARAMS["a"].shape
    np.testing.assert_array_equal(first["a"], again["a"])
    result = optaxls.make_vi_step(loss, optimizer)(PARAMS, state, X)
    later = optaxls.posterior_sample(result.opt_state, PARAMS)
    assert not jnp.allclose(first["a"], later["a"])
    own = optaxls.posterior_sample(state, PARAMS, key=jax.random.key(9))
    assert not jnp.allclose(first["a"], own["a"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ivon", "von"])
def test_samples_have_the_covariance_that_the_state_says(name):
    optimizer = getattr(optaxls, name)(ess=3, learning_rate=0.5)
    step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=3))
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(4):
        params, state, *_ = step(params, state, X)
    samples = optaxls.posterior_sample(state, params, 20_000)
    flat = np.concatenate([samples["a"], samples["b"][:, None]], 1)
    if name == "ivon":
        precision = state.pair.precision
        covariance = np.diag(1 / (3 * np.r_[precision["a"], precision["b"]]))
    else:
        covariance = np.linalg.inv(3 * state.factor @ state.factor.T)
    scale = np.sqrt(np.diag(covariance))
    off = (np.cov(flat.T) - covariance) / np.outer(scale, scale)
    assert np.abs(off).max() < 0.05


@pytest.mark.slow
def test_members_of_an_ensemble_have_noise_of_their_own():
    def member(key):
        optimizer = optaxls.ivon(ess=3, key=key)
        state = optimizer.init(PARAMS)
        step = optaxls.make_vi_step(loss, optimizer)
        return step(PARAMS, state, X).params["b"]

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(member)(keys)
    np.testing.assert_allclose(together, [member(key) for key in keys], rtol=1e-5)
    assert len(set(np.asarray(together).tolist())) == 3


def test_a_state_without_a_posterior_is_refused():
    optimizer = optax.adam(1e-3)
    step = optaxls.make_vi_step(loss, optimizer)
    with pytest.raises(TypeError, match="holds 0 posteriors.*optaxls.ivon"):
        step(PARAMS, optimizer.init(PARAMS), X)
    with pytest.raises(ValueError, match="num_samples"):
        optaxls.make_vi_step(loss, optaxls.ivon(ess=3), num_samples=0)


@pytest.mark.slow
def test_examples_are_told_apart_from_other_arguments():
    """A key is not one; two lengths are an error that says what to write."""

    def noisy(w, x, key, weights):
        return loss(w, x) + jnp.sum(weights * jax.random.normal(key, (2,)) * w["a"])

    optimizer = optaxls.vogn(ess=3)
    state, key, weights = optimizer.init(PARAMS), jax.random.key(0), jnp.ones(2)
    with pytest.raises(ValueError, match=r"make_vi_step\(loss_fn, optimizer, split="):
        optaxls.make_vi_step(noisy, optimizer)(PARAMS, state, X, key, weights)
    split = (True, False, False)
    step = optaxls.make_vi_step(noisy, optimizer, split=split)
    result = step(PARAMS, state, X, key, weights)
    sample = optaxls.posterior_sample(state, PARAMS)
    squares = [
        jax.grad(noisy)(sample, X[i : i + 1], key, weights)["a"] ** 2 for i in range(3)
    ]
    expected = 0.999 * (1 + 1 / 3) + 0.001 * (np.mean(squares, 0) + 1 / 3)
    np.testing.assert_allclose(
        result.opt_state.pair.precision["a"], expected, rtol=1e-6
    )
    # Other optimizers do not ask for it.
    other = optaxls.ivon(ess=3)
    optaxls.make_vi_step(noisy, other)(PARAMS, other.init(PARAMS), X, key, weights)
