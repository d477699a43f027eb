"""Functions of trees: leaves that are not trained pass through, keys among them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls._core import trees

YES, NO = jnp.array(True), jnp.array(False)
HALF = jnp.float32(0.5)


def mixed(weight=2.0, seed=0):
    """A trained leaf beside all that is not: a typed key, an integer, a bool, None."""
    return {
        "w": jnp.array([weight, -weight]),
        "key": jax.random.key(seed),
        "keys": jax.random.split(jax.random.key(seed), 3),
        "int": seed,
        "count": jnp.array(seed, jnp.int32),
        "bool": True,
        "none": None,
    }


def is_the_rest_of(tree, wanted):
    """Whether all leaves but ``w`` are those of ``wanted``."""
    return jax.tree.structure(tree) == jax.tree.structure(wanted) and all(
        np.array_equal(jax.random.key_data(a), jax.random.key_data(b))
        if trees.is_key(a)
        else a == b
        for a, b in (
            pair
            for name in wanted
            if name != "w"
            for pair in zip(
                jax.tree.leaves(tree[name]), jax.tree.leaves(wanted[name]), strict=True
            )
        )
    )


TREE, OTHER = mixed(), mixed(1.0, seed=1)

# What a function of trees makes of the trained leaf, and whose other leaves it keeps.
FUNCTIONS = {
    "conj": (lambda: trees.conj(TREE), [2, -2], TREE),
    "scale": (lambda: trees.scale(HALF, TREE), [1, -1], TREE),
    "zero_unless": (lambda: trees.zero_unless(NO, TREE), [0, 0], TREE),
    "not_zero": (lambda: trees.zero_unless(YES, TREE), [2, -2], TREE),
    "difference": (lambda: trees.difference(TREE, OTHER), [1, -1], TREE),
    "reverse": (lambda: trees.reverse(TREE), [-2, 2], TREE),
    "add_scaled": (
        lambda: trees.add_scaled(TREE, HALF, OTHER, where=YES),
        [2.5, -2.5],
        TREE,
    ),
    "cast_like": (lambda: trees.cast_like(TREE, OTHER), [2, -2], TREE),
    "select_true": (lambda: trees.select(YES, TREE, OTHER), [2, -2], TREE),
    "select_false": (lambda: trees.select(NO, TREE, OTHER), [1, -1], OTHER),
    "either": (lambda: trees.either(YES, lambda: TREE, lambda: OTHER), [2, -2], TREE),
    "fresh": (lambda: trees.fresh(TREE), [2, -2], TREE),
}


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_leaves_that_are_not_trained_are_kept(name, jitted):
    function, wanted, rest = FUNCTIONS[name]
    found = (jax.jit(function) if jitted else function)()
    assert found["w"].tolist() == wanted
    assert is_the_rest_of(found, rest)


def test_a_branch_that_is_chosen_under_jit_may_return_keys():
    found = jax.jit(lambda c: trees.either(c, lambda: TREE, lambda: OTHER))(NO)
    assert is_the_rest_of(found, OTHER)


def test_products_take_the_trained_leaves_alone():
    assert [leaf.tolist() for leaf in trees.inexact_leaves(TREE)] == [[2, -2]]
    assert trees.scalar_dtype(TREE) == jnp.float32
    assert trees.inner(TREE, OTHER, jnp.float32) == 4.0
    assert trees.sqnorm(TREE, jnp.float32) == 8.0
    leaves = {name: leaf for name, leaf in TREE.items() if leaf is not None}
    assert {name for name in leaves if trees.is_inexact(leaves[name])} == {"w"}
    assert {name for name in leaves if trees.is_key(leaves[name])} == {"key", "keys"}


def test_a_cast_takes_the_dtypes_of_python_numbers_too():
    found = trees.cast_like({"a": 1.5, "b": 2.7}, {"a": 0.0, "b": 3})
    assert found["a"] == 1.5 and found["b"] == 2
    assert found["b"].dtype == jnp.int32


def test_a_fresh_tree_shares_no_buffer_and_no_weak_type():
    found = trees.fresh(TREE)
    assert found["w"] is not TREE["w"]
    numbers = [leaf for leaf in jax.tree.leaves(found) if not trees.is_key(leaf)]
    assert not any(leaf.weak_type for leaf in numbers)


def test_counting_stops_at_the_largest_integer():
    most = jnp.array(jnp.iinfo(jnp.int32).max)
    assert trees.one_more(most) == most and trees.one_more(most - 1) == most


@pytest.mark.slow
@pytest.mark.parametrize("key", [jax.random.key(0), 0])
def test_a_direction_with_a_key_in_its_state_trains_under_auto(key):
    """Noise that fades, in the direction: ``optax.add_noise`` keeps a key."""
    noisy = optax.chain(optax.scale_by_adam(), optax.add_noise(0.01, 0.55, key))
    optimizer = optaxls.auto(noisy)
    step = optaxls.make_step(lambda w: jnp.sum((w - 1.0) ** 2), optimizer)

    def body(carry, _):
        result = step(*carry)
        return (result.params, result.opt_state), result.value

    w = jnp.zeros(8)
    state = optimizer.init(w)
    first = jax.jit(step)(w, state)
    assert jax.tree.structure(first.opt_state) == jax.tree.structure(state)
    (w, _), values = jax.jit(lambda: jax.lax.scan(body, (w, state), length=60))()
    assert values[0] == 8.0 and values[-1] < 0.1


@pytest.mark.parametrize(
    "shapes",
    [[()], [(0,)], [(7,)], [(70_000,)], [(3, 40)], [(2, 3, 4, 5), (6,), ()], []],
    ids=str,
)
def test_sums_are_those_of_float64(shapes):
    rng = np.random.default_rng(0)
    left, right = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    floats = [[jnp.asarray(leaf, jnp.float32) for leaf in t] for t in (left, right)]

    def terms(a, b):
        return a * b, jnp.abs(a * b), (a > b).astype(jnp.float32)

    found = trees.sums(terms, [*floats[0], 3], [*floats[1], 4])
    products = np.concatenate(
        [np.zeros(0), *((a * b).ravel() for a, b in zip(left, right, strict=True))]
    )
    size = np.abs(products).sum()
    assert abs(found[0] - products.sum()) <= 1e-5 * size
    assert abs(found[1] - size) <= 1e-5 * size
    above = sum(int(np.sum(a > b)) for a, b in zip(*floats, strict=True))
    assert found[2] == above


@pytest.mark.slow
def test_sums_have_derivatives_beside_counts_that_have_none():
    def total(scale):
        leaf = scale * jnp.arange(6.0).reshape(2, 3)
        square, count = trees.sums(lambda a: (a * a, (a > 1).astype(jnp.float32)), leaf)
        return square + count

    assert jax.grad(total)(2.0) == jax.jvp(total, (2.0,), (1.0,))[1] == 2 * 2 * 55
    assert jax.hessian(total)(2.0) == 2 * 55


def test_no_sum_of_many_terms_loses_the_last():
    """Added one by one, ones in float32 end at 2**24."""
    many = jnp.ones(2**24 + 2**20)
    total, _ = trees.sums(lambda leaf: (leaf, -leaf), many)
    assert total == many.size


def test_sums_read_the_leaves_once():
    """Terms that two sums share are not stored."""
    leaves = jnp.ones((512, 256)), jnp.ones((512, 256))
    product = jax.jit(lambda a, b: trees.inner_and_abs(a, b, jnp.float32))
    memory: Any = product.lower(*leaves).compile().memory_analysis()
    assert memory.temp_size_in_bytes < leaves[0].nbytes / 4
