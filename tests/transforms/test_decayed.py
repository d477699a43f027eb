"""Weight decay by the step size found: its formula, and what it needs."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls

W = jnp.array([2.0, -4.0])
NAN = float("nan")


def step(tx, w=W, value=1.0):
    return tx.update(-w, tx.init(w), w, value=jnp.array(value), grad=w)[0]


def constant(step_size):
    return optaxls.scale_by_initial_step(optaxls.constant(step_size))


def test_it_subtracts_step_size_times_decay_times_params():
    updates = step(optaxls.decayed(constant(0.5), 0.25))
    assert updates.tolist() == (-0.5 * W - 0.125 * W).tolist()


def test_a_decay_of_more_than_everything_takes_everything():
    updates = step(optaxls.decayed(constant(0.5), 100.0))
    assert updates.tolist() == (-0.5 * W - W).tolist()


def test_no_decay_is_the_same_state_and_the_same_updates():
    plain, none = constant(0.5), optaxls.decayed(constant(0.5), 0.0)
    assert step(none).tolist() == step(plain).tolist()
    some = optaxls.decayed(constant(0.5), 0.25)
    # optax.inject_hyperparams traces the number, and cannot change the state.
    assert jax.tree.structure(none.init(W)) == jax.tree.structure(some.init(W))


@pytest.mark.parametrize(
    "make",
    [
        lambda rule: optax.chain(optax.clip(1e3), rule),
        lambda rule: optax.chain(rule, optax.scale(1.0)),
        lambda rule: optax.chain(optax.chain(rule), optax.identity()),
        lambda rule: optax.named_chain(("clip", optax.clip(1e3)), ("rule", rule)),
    ],
)
def test_a_chain_changes_nothing(make):
    around = step(optaxls.decayed(make(constant(0.5)), 0.25))
    assert around.tolist() == step(optaxls.decayed(constant(0.5), 0.25)).tolist()


def test_of_several_step_sizes_the_last_counts():
    chain = optax.chain(constant(0.5), constant(0.25))
    updates = step(optaxls.decayed(chain, 1.0))
    assert updates.tolist() == (-0.125 * W - 0.25 * W).tolist()


def test_it_works_around_an_optimizer():
    plain, tx = optaxls.ponos(), optaxls.decayed(optaxls.ponos(), 0.1)
    extra = {"value": jnp.sum(W**2) / 2, "grad": W}
    extra["value_fn"] = lambda w: jnp.sum(w**2) / 2
    without, state = plain.update(W, plain.init(W), W, **extra)
    updates, _ = tx.update(W, tx.init(W), W, **extra)
    decay = 0.1 * optaxls.metrics(state)["step_size"] * W
    assert jnp.allclose(updates, without - decay)


@pytest.mark.parametrize("w", [W, jnp.array([NAN, 1.0])])
def test_no_step_no_decay(w):
    """The search refuses a loss that is not finite; NaN params add no NaN."""
    tx = optaxls.decayed(optax.chain(constant(0.5)), 0.25)
    assert not step(tx, w, NAN).any()


@pytest.mark.parametrize("rule", [optax.sgd(0.1), optax.identity()])
def test_it_needs_a_step_size(rule):
    with pytest.raises(TypeError, match="scale_by_line_search.*got the state"):
        optaxls.decayed(rule, 0.1).init(W)


def test_a_negative_decay_is_refused():
    with pytest.raises(ValueError, match="weight_decay"):
        optaxls.decayed(constant(0.5), -0.1)
