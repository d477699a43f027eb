"""Cautious directions: the law in plain Python; what is sparse; what all climbs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls

NAN, INF = float("nan"), float("inf")


def cautious(direction, grad):
    tx = optaxls.cautious()
    return tx.update(direction, tx.init(direction), direction, grad=grad)[0]


def oracle(d, g):
    """The law of the docstring, in float64."""
    product = np.real(d * g)
    down, up = np.sum(product < 0), np.sum(product > 0)
    if up and not down:
        return np.where(product > 0, -d, d)
    share = down / max(down + up, 1)
    return np.where(product <= 0, d, 0) / max(share, 0.1)


# Half of the gradients are 0, as those of the rows of an embedding are.
numbers = st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "complex"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(numbers, st.integers(0, 99))
def test_it_is_the_law(kind, direction, seed):
    rng = np.random.default_rng(seed)
    d = np.array(direction, np.float32)
    g = rng.standard_normal(len(d)) * rng.integers(0, 2, len(d))
    if kind == "complex":
        d = d + 1j * rng.permutation(d)
        g = g * np.exp(1j * rng.uniform(0, 7, len(d)))
    found = np.asarray(cautious(jnp.asarray(d), jnp.asarray(g, jnp.result_type(d))))
    np.testing.assert_allclose(found, oracle(d, g), rtol=1e-4, atol=1e-5)
    assert np.real(found @ g) <= 0


def test_it_counts_over_the_whole_tree_and_leaves_integers_alone():
    d = {"a": jnp.array([1.0, 1.0, 1.0], jnp.bfloat16), "b": jnp.array([2.0 + 1.0j])}
    d |= {"count": jnp.array([3]), "none": None}
    g = {"a": jnp.array([1.0, 1.0, -1.0], jnp.bfloat16), "b": jnp.array([-1.0 + 1.0j])}
    g |= {"count": jnp.array([0]), "none": None}
    found = cautious(d, g)
    # Re(d g) of "b" is -3: two of four are kept.
    np.testing.assert_allclose(found["a"].astype(jnp.float32), [0, 0, 2])
    assert found["b"].tolist() == [4 + 2j]
    assert found["a"].dtype == jnp.bfloat16 and found["count"].tolist() == [0]


def test_it_compares_signs_and_not_products():
    """1e-25 squared is 0 in float32."""
    d = jnp.array([-1e-25, 1e-25])
    found = cautious(d, jnp.abs(d))
    np.testing.assert_allclose(jnp.asarray(found), [-2e-25, 0.0], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_direction_of_one_coordinate_stays_as_it_is(size):
    direction = jnp.zeros(size).at[0].set(-3.0)
    moved = cautious(direction, jnp.ones(size))
    np.testing.assert_array_equal(moved, direction)


@pytest.mark.parametrize("size", [0, 2, 1000])
@pytest.mark.parametrize("sparse", ["direction", "gradient", "both"])
def test_coordinates_without_direction_or_gradient_do_not_count(sparse, size):
    """They do not change the rest, and themselves change like what is kept."""
    table = 3.0 * jnp.ones(size) * (sparse == "gradient")
    table_grad = jnp.ones(size) * (sparse == "direction")
    direction = jnp.array([-1.0, 2.0, -3.0, -4.0])
    found = cautious(
        {"table": table, "w": direction}, {"table": table_grad, "w": jnp.ones(4)}
    )
    np.testing.assert_allclose(found["w"], [-4 / 3, 0.0, -4.0, -16 / 3], rtol=1e-6)
    np.testing.assert_allclose(found["table"], table * 4 / 3, rtol=1e-6)


def test_where_no_coordinate_has_a_gradient_all_keep_their_momentum_tenfold():
    """There is no share to speak of, and no slope either: no step follows."""
    direction = jnp.array([1.0, -2.0])
    assert cautious(direction, jnp.zeros(2)).tolist() == [10.0, -20.0]


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


def test_rows_that_a_batch_does_not_see_go_on_with_their_momentum():
    """Row 3 was seen before, row 7 is now; no other row moves."""
    tx = optax.chain(optax.trace(0.9), optax.scale(-1.0), optaxls.cautious())
    table, none = jnp.zeros((100, 4)), jnp.zeros((100, 4))
    state = tx.init(table)
    _, state = tx.update(none.at[3].set(1.0), state, table, grad=none.at[3].set(1.0))
    grad = none.at[7].set(2.0)
    updates, _ = tx.update(grad, state, table, grad=grad)
    np.testing.assert_allclose(updates, -grad - none.at[3].set(0.9), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_if_all_climb_they_are_reversed(dtype):
    """The second coordinate has no gradient, so that it does not climb."""
    d = {"a": jnp.array([3.0, 2.0, -1.0], dtype), "n": jnp.array([1])}
    g = {"a": jnp.array([3.0, 0.0, -4.0], dtype), "n": jnp.array([0])}
    found = cautious(d, g)["a"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found, complex), [-3.0, 2.0, 1.0])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_gradient_that_is_not_finite_makes_no_step(bad):
    """What is not finite is not kept silently: the slope tells the next part."""
    tx = optax.chain(
        optaxls.cautious(), optaxls.scale_by_initial_step(optaxls.constant(1.0))
    )
    d = jnp.array([1.0, 1.0])
    grad = jnp.array([bad, -1.0])
    updates, state = tx.update(d, tx.init(d), d, value=jnp.array(1.0), grad=grad)
    assert not jnp.any(updates)
    assert not optaxls.metrics(state)["accepted"]


def standing_still(size, seed):
    """How many of 300 steps of ``auto`` on a quadratic have a size of 0."""
    rng = np.random.default_rng(seed)
    root = jnp.asarray(rng.standard_normal((size, size)) + 2 * np.eye(size))
    optimizer = optaxls.auto()
    step = optaxls.make_step(lambda w: jnp.sum((root @ (w - 1)) ** 2), optimizer)

    def one(carry, _):
        result = step(*carry)
        still = (result.metrics["step_size"] == 0) & jnp.any(result.value > 0)
        return (result.params, result.opt_state), still

    w = jnp.asarray(3 * rng.standard_normal(size), jnp.float32)
    run = jax.jit(lambda carry: jax.lax.scan(one, carry, length=300))
    (w, _), still = run((w, optimizer.init(w)))
    np.testing.assert_allclose(w, 1, atol=1e-2)
    return int(jnp.sum(still))


@pytest.mark.slow
@pytest.mark.parametrize("size", range(1, 6))
def test_auto_does_not_stand_still_in_few_dimensions(size):
    """Before all momentum that climbs was turned, it did for 168 of 300 steps."""
    assert [standing_still(size, seed) for seed in range(2)] == [0, 0]
