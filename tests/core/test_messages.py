"""What a wrong argument or a wrong loss is told: its name, and what to write."""

import jax
import jax.numpy as jnp
import pytest

import optaxls
from optaxls._core.arguments import require_arguments
from optaxls._core.loss import as_scalar

W = jnp.array([1.0, 2.0])


def square(w):
    return jnp.sum(w**2)


def test_all_missing_arguments_are_named_at_once_and_the_whole_call():
    with pytest.raises(TypeError) as caught:
        require_arguments("rule", params=1, value=None, grad=1, value_fn=None)
    message = str(caught.value)
    assert message.startswith("rule: update() needs 'value' and 'value_fn'.")
    call = "optimizer.update(grads, state, params, value=loss, grad=grads, value_fn="
    assert call in message


def test_an_argument_without_an_example_is_named_too():
    with pytest.raises(TypeError, match=r"needs 'key'.*params, key=\.\.\.\)"):
        require_arguments("rule", key=None)


# What value_fn returns in place of a loss, and how the error calls it.
NO_LOSS = {
    "dict": (lambda w: {"loss": square(w)}, r"a dict with the keys \['loss'\]"),
    "none": (lambda w: None, "type NoneType"),
    "vector": (lambda w: w**2, r"shape \(2,\)"),
    "vector_with_aux": (lambda w: (w**2, 1), r"shape \(2,\)"),
}


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("name", NO_LOSS)
def test_a_value_fn_that_returns_no_loss_is_told_what_to_return(name, jitted):
    value_fn, message = NO_LOSS[name]
    optimizer = optaxls.ponos()

    def update(w):
        given = {"value": square(w), "grad": 2 * w, "value_fn": value_fn}
        return optimizer.update(2 * w, optimizer.init(w), w, **given)

    wanted = f"what value_fn returns must be a scalar, got .*{message}.*Return the loss"
    with pytest.raises((TypeError, ValueError), match=wanted):
        (jax.jit(update) if jitted else update)(W)


@pytest.mark.parametrize("name", NO_LOSS)
def test_a_loss_fn_that_returns_no_loss_is_told_what_to_return(name):
    loss_fn, message = NO_LOSS[name]
    optimizer = optaxls.ponos()
    step = optaxls.make_step(loss_fn, optimizer, has_aux=name == "vector_with_aux")
    with pytest.raises((TypeError, ValueError), match=f"loss_fn returns.*{message}"):
        step(W, optimizer.init(W))


@pytest.mark.parametrize("has_aux", [False, True])
def test_make_step_says_when_has_aux_is_wrong(has_aux):
    def loss_fn(w):
        return square(w) if has_aux else (square(w), 1)

    optimizer = optaxls.ponos()
    step = optaxls.make_step(loss_fn, optimizer, has_aux=has_aux)
    with pytest.raises(TypeError, match=f"with has_aux={has_aux} loss_fn must return"):
        step(W, optimizer.init(W))


@pytest.mark.parametrize("value", [1j, jnp.array(1j)])
def test_a_complex_loss_is_refused(value):
    with pytest.raises(TypeError, match="lower_bound must be real, got complex64"):
        as_scalar(value, jnp.float32, "lower_bound")
