"""make_step: further update arguments, and errors that stay the user's."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

W = jnp.array([1.0, 2.0])


def square(w, *args):
    return 0.5 * jnp.sum(w**2)


def no_state(params):
    return optax.EmptyState()


def keeping(taken):
    """An optimizer that writes down the arguments that its ``update`` was given."""

    def update(updates, state, params=None, **extra):
        taken.update(extra)
        return jax.tree.map(jnp.zeros_like, updates), state

    return optax.GradientTransformationExtraArgs(no_state, update)


def test_extra_sees_params_and_batch_and_reaches_the_optimizer():
    def extra(params, x, i):
        return {"index": i, "lower_bound": jnp.min(x) * params[0]}

    taken = {}
    step = optaxls.make_step(square, keeping(taken), extra=extra)
    step(W, optax.EmptyState(), jnp.array([3.0, 4.0]), 7)
    assert taken["index"] == 7 and taken["lower_bound"] == 3.0
    assert {"value", "grad", "value_fn", "grad_fn"} <= set(taken)


def test_a_lower_bound_per_batch_is_that_of_the_polyak_step():
    def loss(w, least):
        return square(w) + least

    optimizer = optaxls.sps()
    step = jax.jit(
        optaxls.make_step(
            loss, optimizer, extra=lambda w, least: {"lower_bound": least}
        )
    )
    for least in (-3.0, 0.0, 5.0):
        result = step(W, optimizer.init(W), least)
        assert result.value == 2.5 + least
        np.testing.assert_allclose(result.params, 0.0, atol=1e-6)


def test_an_optimizer_without_further_arguments_ignores_them():
    step = optaxls.make_step(square, optax.sgd(0.5), extra=lambda w: {"index": 0})
    assert step(W, optax.sgd(0.5).init(W)).params.tolist() == [0.5, 1.0]


def test_a_gradient_function_of_the_users_own_is_passed_on():
    taken, mine = {}, object()
    step = optaxls.make_step(square, keeping(taken), extra=lambda w: {"grad_fn": mine})
    step(W, optax.EmptyState())
    assert taken["grad_fn"] is mine


@pytest.mark.parametrize(
    "extra,error,message",
    [
        (lambda w: {"value": 1.0}, ValueError, "must not return 'value'"),
        (
            lambda w: {"params": w, "grad": w, "index": 0},
            ValueError,
            "must not return 'params', 'grad'",
        ),
        (lambda w: 3.0, TypeError, "must return a dict .* type float"),
        (lambda w: None, TypeError, "must return a dict .* type NoneType"),
    ],
)
def test_what_extra_may_not_return_is_named(extra, error, message):
    step = optaxls.make_step(square, optaxls.sps(), extra=extra)
    with pytest.raises(error, match=f"extra {message}"):
        step(W, optaxls.sps().init(W))


def test_an_extra_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="extra must be a function or None"):
        optaxls.make_step(square, optaxls.sps(), extra={"index": 0})  # type: ignore


# Errors. An update function may refuse grad_fn; all else is the user's own.


def raising(message, error=TypeError):
    def update(updates, state, params=None, **extra):
        raise error(message)

    return optax.GradientTransformationExtraArgs(no_state, update)


@pytest.mark.parametrize(
    "message", ["grad_fn must be jitted", "no grad_fn", "missing argument 'grad_fn'"]
)
def test_an_optimizers_own_error_is_not_replaced(message):
    step = optaxls.make_step(square, raising(message))
    with pytest.raises(TypeError, match=f"^{message}$"):
        step(W, optax.EmptyState())


def test_an_error_of_the_loss_in_a_trial_is_not_taken_for_a_refusal():
    """The words are those of a refusal; where they were raised decides."""
    calls = []

    def helper(w):
        return square(w)

    def loss(w):
        calls.append(1)
        return square(w) if len(calls) == 1 else helper(w, grad_fn=None)  # type: ignore

    optimizer = optaxls.ponos()
    step = optaxls.make_step(loss, optimizer)
    with pytest.raises(TypeError, match=r"helper\(\) got an unexpected .* 'grad_fn'"):
        jax.jit(step)(W, optimizer.init(W))
    assert len(calls) == 2


def strict(needs_grad_fn):
    """Third-party transformations that list their arguments, with and without it."""

    def without(updates, state, params=None, *, value, grad, value_fn):
        return jax.tree.map(lambda u: -0.5 * u, updates), state

    def within(updates, state, params=None, *, grad_fn, **extra):
        return grad_fn(params), state

    update: Any = within if needs_grad_fn else without
    return optax.GradientTransformationExtraArgs(no_state, update)


def test_a_transformation_in_a_chain_may_refuse_grad_fn():
    optimizer = optax.chain(optax.identity(), strict(False))
    result = optaxls.make_step(square, optimizer)(W, optimizer.init(W))
    assert result.params.tolist() == [0.5, 1.0]


def test_where_one_part_needs_what_another_refuses_the_refusal_is_shown():
    optimizer = optax.chain(strict(True), strict(False))
    with pytest.raises(TypeError, match=r"without\(\) got an unexpected keyword"):
        optaxls.make_step(square, optimizer)(W, optimizer.init(W))


def test_a_refusal_of_the_users_own_argument_is_shown():
    optimizer = optax.chain(optax.identity(), strict(False))
    step = optaxls.make_step(square, optimizer, extra=lambda w: {"index": 0})
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        step(W, optimizer.init(W))


# What the params may be.


def test_numpy_and_python_numbers_give_arrays_of_the_same_types():
    optimizer = optaxls.sls(steps_per_epoch=1)
    step = optaxls.make_step(square, optimizer)
    for w in (2.0, np.float32(2.0), np.full((), 2.0, np.float32)):
        result = step(w, optimizer.init(w))
        assert result.value == 2.0 and result.value.dtype == jnp.float32
        assert isinstance(result.value, jax.Array)
        assert result.params.dtype == jnp.float32 and abs(result.params) < 2.0
        assert result.aux == ()


class Model(eqx.Module):
    linear: eqx.nn.Linear
    activation: object = jnp.tanh

    def __call__(self, x):
        return self.activation(self.linear(x))  # type: ignore


def model():
    return Model(eqx.nn.Linear(2, 1, key=jax.random.key(0)))


def model_loss(params, static, x):
    return jnp.mean((eqx.combine(params, static)(x) - 1.0) ** 2)


def test_an_unfiltered_equinox_model_is_told_how_to_be_split():
    step = optaxls.make_step(lambda m, x: jnp.mean(m(x)), optaxls.ponos())
    cure = r"make_step: params\.activation is no array.*eqx\.partition\(model"
    with pytest.raises(TypeError, match=cure):
        step(model(), (), jnp.ones(2))


def test_a_split_equinox_model_is_trained():
    params, static = eqx.partition(model(), eqx.is_inexact_array)
    optimizer = optaxls.ponos()
    step = eqx.filter_jit(
        optaxls.make_step(lambda p, x: model_loss(p, static, x), optimizer)
    )
    result = step(params, optimizer.init(params), jnp.ones(2))
    assert model_loss(result.params, static, jnp.ones(2)) < result.value


def test_a_typed_key_among_the_params_is_told_where_it_belongs():
    params = {"w": W, "key": jax.random.key(0)}
    step = optaxls.make_step(lambda p: square(p["w"]), optaxls.ponos())
    with pytest.raises(TypeError, match=r"params\['key'\] is a typed key.*arguments"):
        step(params, ())
