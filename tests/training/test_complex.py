"""Complex params: JAX's gradient is the conjugate of the direction of ascent.

Whoever passes it on as it is, to a plain optax loop, to linen or NNX, descends too.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optaxls
from optaxls._core import trees
from optaxls._core.arguments import ascent_direction, descent_direction
from optaxls.flax import TrainState, value_fn

OPTIMIZERS = {
    "sls": lambda: optaxls.sls(steps_per_epoch=1),
    "sls_goldstein": lambda: optaxls.sls_goldstein(steps_per_epoch=1),
    "sls_extragradient": lambda: optaxls.sls_extragradient(steps_per_epoch=1),
    "sps": lambda: optaxls.sps(),
    "ponos": lambda: optaxls.ponos(decay=0.5),
    "adam_sls": lambda: optaxls.adam_sls(steps_per_epoch=1),
    "adam_sls_momentum": lambda: optaxls.adam_sls(steps_per_epoch=1, b1=0.5),
    "adam_sps": lambda: optaxls.adam_sps(c=1.0),
    "adam_ponos": lambda: optaxls.adam_ponos(decay=0.5),
    "salsa": lambda: optaxls.salsa(),
    "auto": lambda: optaxls.auto(),
    "auto_lion": lambda: optaxls.auto(optax.scale_by_lion()),
    "sign_descent": lambda: optaxls.sign_descent(
        lambda count: 0.5 * 0.9**count, momentum=0.0
    ),
    "clipped": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optaxls.ponos(decay=0.5)
    ),
}
# From 0 all is imaginary; from the other the gradient has both parts.
STARTS = {"zero": 0j, "elsewhere": 2.0 - 3.0j}


def distance(z):
    """The mean square of the distance to i, 1 + i, 2 + i."""
    return jnp.mean(jnp.abs(z - jnp.arange(3.0) - 1j) ** 2)


def start(name):
    return jnp.full(3, STARTS[name], jnp.complex64) + jnp.arange(3.0)


def plain_step(optimizer):
    """The loop that optax's documentation shows: one gradient, passed on as it is."""

    def step(z, state):
        value, grad = jax.value_and_grad(distance)(z)
        updates, state = optimizer.update(
            grad, state, z, value=value, grad=grad, value_fn=distance,
            grad_fn=jax.grad(distance),
        )  # fmt: skip
        return optax.apply_updates(z, updates), state

    return step


def trajectories(optimizer, num_steps=60):
    """The params of the plain loop and of ``make_step``, from both starts."""
    steps = plain_step(optimizer), optaxls.make_step(distance, optimizer)

    def run(step, z):
        def body(carry, _):
            carry = step(*carry)[:2]
            return carry, carry[0]

        return jax.lax.scan(body, (z, optimizer.init(z)), length=num_steps)[1]

    run_both = jax.jit(jax.vmap(lambda z: [run(step, z) for step in steps]))
    return run_both(jnp.stack([start(name) for name in STARTS]))


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_plain_loop_with_jaxs_gradient_makes_the_steps_of_make_step(name):
    plain, wanted = trajectories(OPTIMIZERS[name]())
    for found in plain:
        assert distance(found[-1]) < 0.01
    # make_step conjugates the updates itself; that a loop did not is found out.
    np.testing.assert_allclose(plain[:, :5], wanted[:, :5], rtol=1e-4, atol=1e-5)


def searched():
    return optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(4.0))


PARTS = {
    "searched": lambda: optax.chain(optax.scale(-1.0), searched()),
    "preconditioned_before": lambda: optax.chain(
        optax.scale_by_adam(b1=0.0), optax.scale(-1.0), searched()
    ),
    "untested": lambda: optax.chain(
        optax.scale(-1.0), optaxls.scale_by_initial_step(optaxls.polyak())
    ),
    "cautious": lambda: optax.chain(optax.scale(-1.0), optaxls.cautious(), searched()),
    "guarded": lambda: optax.chain(
        optaxls.guarded(optax.trace(0.5)), optax.scale(-1.0), searched()
    ),
    "preconditioned": lambda: optaxls.scale_by_preconditioned_search(
        searched(), b1=0.5
    ),
    "extragradient": lambda: optax.chain(
        optax.scale(-1.0), optaxls.scale_by_extragradient(optaxls.constant(4.0))
    ),
}


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize("name", PARTS)
def test_a_plain_loop_of_parts_makes_the_steps_of_make_step(name):
    plain, wanted = trajectories(PARTS[name]())
    for found in plain:
        assert distance(found[-1]) < 0.01
    np.testing.assert_allclose(plain[:, :5], wanted[:, :5], rtol=1e-4, atol=1e-5)


LOOPS = ("sls", "sps", "adam_sls", "auto")


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", (*LOOPS, "sgd"))
def test_a_linen_train_state_descends_whoever_conjugates(name, by_hand):
    """The state of plain optax too: the gradient goes in as ``jax.grad`` gives it."""
    optimizer = optax.sgd(0.5) if name == "sgd" else OPTIMIZERS[name]()
    state = TrainState.create(apply_fn=None, params=start("elsewhere"), tx=optimizer)

    @jax.jit
    def step(state):
        value, grads = jax.value_and_grad(distance)(state.params)
        updates = jnp.conj(grads) if by_hand else grads
        return state.apply_gradients(
            grads=updates, grad=grads, value=value, value_fn=distance
        )

    for _ in range(50):
        state = step(state)
    assert distance(state.params) < 0.01


class Point(nnx.Module):
    def __init__(self):
        self.z = nnx.Param(start("zero"))


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize("name", LOOPS)
def test_an_nnx_optimizer_descends(name):
    model = Point()
    optimizer = nnx.Optimizer(model, OPTIMIZERS[name](), wrt=nnx.Param)

    def loss(model):
        return distance(model.z[...])

    @nnx.jit
    def step(model, optimizer):
        fn = value_fn(model, loss)
        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)

    for _ in range(50):
        step(model, optimizer)
    assert loss(model) < 0.01


# What is conjugated and what is not.

GRAD = np.array([1 + 2j, -3 + 0.5j, 0, 1j, -2, 1e-30 - 1e-31j], np.complex64)
FACTORS = np.array([1, 0.1, 3, 1e4, 1e-4, 1], np.float32)
# Multiples of the gradient are conjugated, those of its conjugate and others are not.
RAW = {"same": GRAD, "shorter": 0.1 * GRAD, "preconditioned": FACTORS * GRAD}
RAW |= {"sparse": np.where(np.arange(6) < 2, GRAD, 0), "zero": 0 * GRAD}
KEPT = {name: np.conj(leaf) for name, leaf in RAW.items()}
KEPT |= {"ascent": -GRAD, "turned": 1j * GRAD, "nan": GRAD + np.nan}
KEPT |= {"momentum": 0.9 * np.conj(GRAD) + 0.1, "one_other": GRAD + np.eye(6)[0]}


@pytest.mark.parametrize("name", RAW)
def test_multiples_of_the_gradient_are_conjugated(name):
    leaf = RAW[name]
    for find in (ascent_direction, jax.jit(ascent_direction)):
        np.testing.assert_array_equal(find(leaf, GRAD), np.conj(leaf))
    np.testing.assert_array_equal(descent_direction(-leaf, GRAD), -np.conj(leaf))


@pytest.mark.parametrize("name", KEPT)
def test_all_else_is_a_direction_already(name):
    leaf = KEPT[name]
    for find in (ascent_direction, jax.jit(ascent_direction)):
        np.testing.assert_array_equal(find(leaf, GRAD), leaf)
    np.testing.assert_array_equal(descent_direction(-leaf, GRAD), -leaf)


@pytest.mark.parametrize("imaginary", [1e-6, 1e-12, 1e-24])
def test_a_gradient_that_is_nearly_real_is_told_from_its_conjugate(imaginary):
    grad = jnp.array([1.0 + imaginary * 1j, 2.0 - imaginary * 1j], jnp.complex64)
    for leaf in (grad, 0.3 * grad):
        np.testing.assert_array_equal(ascent_direction(leaf, grad), jnp.conj(leaf))
        kept = jnp.conj(leaf)
        np.testing.assert_array_equal(ascent_direction(kept, grad), kept)


def test_leaves_are_decided_one_by_one():
    grad = {"a": GRAD, "b": GRAD, "real": FACTORS, "count": np.array(0), "none": None}
    updates = grad | {"b": np.conj(GRAD)}
    found = ascent_direction(updates, grad)
    chex.assert_trees_all_equal(found, trees.conj(grad))


def test_real_trees_cost_nothing():
    tree = {"w": jnp.ones(3), "count": jnp.array(0)}
    program = jax.make_jaxpr(lambda u, g: ascent_direction(u, g))(tree, tree)
    assert not program.eqns


def test_without_a_gradient_or_of_another_structure_nothing_is_changed():
    assert ascent_direction(GRAD, None) is GRAD
    assert ascent_direction({"a": GRAD}, [GRAD])["a"] is GRAD


def test_auto_names_all_missing_arguments_at_once():
    optimizer, w = optaxls.auto(), jnp.ones(2)
    state = optimizer.init(w)
    with pytest.raises(TypeError, match=r"auto: update\(\) needs 'value'\. "):
        optimizer.update(w, state, w, grad=w)
    with pytest.raises(TypeError, match="'value' and 'grad'"):
        optimizer.update(w, state, w)
