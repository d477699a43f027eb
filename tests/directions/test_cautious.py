"""Cautious directions that are sparse: zeros are neither kept nor dropped."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls


def cautious(direction, grad):
    tx = optaxls.cautious()
    return tx.update(direction, tx.init(direction), direction, grad=grad)[0]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_direction_of_one_coordinate_stays_as_it_is(size):
    direction = jnp.zeros(size).at[0].set(-3.0)
    moved = cautious(direction, jnp.ones(size))
    np.testing.assert_array_equal(moved, direction)


@pytest.mark.parametrize("zeros", [0, 2, 1000])
def test_zeros_do_not_change_the_rest(zeros):
    direction = jnp.array([-1.0, 2.0, -3.0, -4.0])
    grad = jnp.ones(4)
    padded = cautious(
        {"table": jnp.zeros(zeros), "w": direction},
        {"table": jnp.ones(zeros), "w": grad},
    )
    np.testing.assert_allclose(padded["w"], [-4 / 3, 0.0, -4.0, -16 / 3], rtol=1e-6)
    assert not jnp.any(padded["table"])


def test_no_direction_at_all_is_none_afterwards():
    assert not jnp.any(cautious(jnp.zeros(3), jnp.ones(3)))


def test_what_is_dropped_still_counts_up_to_tenfold():
    direction = jnp.ones(50).at[0].set(-1.0)
    moved = cautious(direction, jnp.ones(50))
    assert moved[0] == -10.0 and not jnp.any(moved[1:])


def test_an_embedding_of_which_a_batch_sees_one_row():
    table, grad = jnp.zeros((100, 4)), jnp.zeros((100, 4)).at[7].set(2.0)
    tx = optax.chain(optax.scale(-1.0), optaxls.cautious())
    updates, _ = tx.update(grad, tx.init(table), table, grad=grad)
    np.testing.assert_array_equal(updates, -grad)
