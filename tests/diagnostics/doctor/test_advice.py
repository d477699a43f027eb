"""The optimizers that the doctor names, and how it chooses among them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls.diagnostics.doctor import _advice

W = jnp.array([1.0, -2.0, 0.5])


def loss(w):
    return jnp.sum(jnp.array([1.0, 3.0, 9.0]) * w**2)


def first_step(optimizer):
    step = optaxls.make_step(loss, optimizer)
    return step(W, optimizer.init(W)).params


NAMED = [
    (name, optimizer)
    for bound in (0.0, -3.0, 1 / 3)
    for name, optimizer in _advice.candidates(12.5, bound).items()
    if bound == 0.0 or "ponos" in name
]
NAMED.append((_advice.MEASURED, _advice.measured_optimizer()))


@pytest.mark.slow
@pytest.mark.parametrize("name, optimizer", NAMED, ids=[name for name, _ in NAMED])
def test_a_name_evaluates_to_the_optimizer_that_was_tried(name, optimizer):
    pasted = eval(f"optaxls.{name}", {"optaxls": optaxls, "optax": optax})
    moved = first_step(pasted)
    np.testing.assert_array_equal(moved, first_step(optimizer))
    assert not (moved == W).all()


def test_the_names_have_the_lower_bound():
    names = _advice.candidates(10.0, -3.0)
    assert "ponos(max_step_size=1e3, lower_bound=-3)" in names
    assert "adam_ponos(lower_bound=-3)" in names
    # Six digits of it would lie above the bound.
    assert f"adam_ponos(lower_bound={1.23456789})" in _advice.candidates(1, 1.23456789)


def tried(**excess):
    return {name: _advice.Tried(value, None) for name, value in excess.items()}


@pytest.mark.parametrize(
    "losses, open_end, chosen, confidence",
    [
        ({"simple": 1.1, "other": 1.0}, False, "simple", "likely"),
        ({"simple": 1.3, "other": 1.0}, False, "other", "likely"),
        ({"simple": 1.6, "other": 1.0}, False, "other", "sure"),
        ({"simple": 1.6, "other": 1.0}, True, "other", "likely"),
        ({"simple": 1.3, "other": 1.0}, True, "other", "a guess"),
        ({"simple": 1e-7, "other": 1e-9}, True, "simple", "sure"),
        ({"simple": jax.numpy.nan, "other": 1.0}, False, "other", "sure"),
        ({"simple": jax.numpy.nan, "other": jax.numpy.inf}, False, "simple", "a guess"),
    ],
)
def test_the_simplest_of_the_good_ones_is_chosen(losses, open_end, chosen, confidence):
    found, how_sure, why = _advice._choice(tried(**losses), 1.0, open_end)
    assert (found, how_sure) == (chosen, confidence)
    assert chosen in why or "no optimizer ended with a finite loss" in why


def test_a_run_alone_is_compared_with_none():
    chosen, how_sure, why = _advice._choice(tried(alone=1.0), 2.0, False)
    assert (chosen, how_sure) == ("alone", "likely")
    assert why.endswith("alone ended at 1 above the lower bound.")


@pytest.mark.parametrize(
    "plain, adam, groups, heavy, sentence",
    [
        (1.0, 1.0, None, False, "Adam's is not needed here. Along"),
        (2.0, 1.0, None, False, "Adam's; no labels tell the reason. "),
        (jnp.inf, 1.0, None, False, "Adam's. Along the gradient"),
        (2.0, 1.0, ([1.0, 3.0], [1.0, 1.0]), True, "Adam's, because labels are heavy"),
        (2.0, 1.0, ([3.0, 1.0], [1.0, 1.0]), True, "Adam's, but not because of rare"),
        # Where the gradient is ahead, in the rarest classes here, does not count.
        (2.0, 1.0, ([0, 1, 2, 0], [0, 0, 0, 1.5]), True, "67 % of the difference"),
        (2.0, 1.0, ([1.0, 3.0], [1.0, 1.0]), False, "Adam's, but not because of rare"),
    ],
)
def test_when_the_direction_of_adam_is_needed(plain, adam, groups, heavy, sentence):
    of_plain, of_adam = groups and map(jnp.array, groups) or (None, None)
    runs = {
        _advice.ALONG_GRADIENT: _advice.Tried(plain, of_plain),
        _advice.MEASURED: _advice.Tried(adam, of_adam),
    }
    assert sentence in _advice._direction(heavy, "interpolation", runs)
