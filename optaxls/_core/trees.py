"""Products over parameter trees, in float32 or wider whatever the leaves are."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is trained: integers and keys are not."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed key, or an array of them: no arithmetic, no cast."""
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def inexact_leaves(tree: Any) -> list[jax.Array]:
    """The floating-point and complex leaves: None and integers hold no direction."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if is_inexact(leaf)]


def scalar_dtype(params: Any) -> Any:
    """float32, or float64 where a leaf is float64 or complex128."""
    widths = [jnp.finfo(jnp.result_type(leaf)).dtype for leaf in inexact_leaves(params)]
    return functools.reduce(jnp.promote_types, widths, jnp.dtype(jnp.float32))


def ranged(tree: Any) -> Any:
    """float16 leaves as float32: the square of 1e-4, or of 1e3, is none of theirs."""

    def leaf_ranged(leaf):
        half = jnp.result_type(leaf) == jnp.float16
        return jnp.asarray(leaf, jnp.float32) if half else leaf

    return jax.tree.map(leaf_ranged, tree)


def inner(left: Any, right: Any, dtype: Any) -> jax.Array:
    """Real part of ``sum_j left_j right_j``, products and sums in ``dtype`` or wider.

    No conjugation: JAX's gradient of a real loss in complex params is the conjugate of
    the ascent direction, so this is the directional derivative.
    """

    def leaf_product(a, b):
        product = jnp.asarray(a, jnp.promote_types(dtype, jnp.result_type(a))) * b
        return jnp.sum(jnp.real(product), dtype=dtype)

    pairs = zip(inexact_leaves(left), inexact_leaves(right), strict=True)
    products = [leaf_product(a, b) for a, b in pairs]
    return functools.reduce(operator.add, products, jnp.zeros((), dtype))


def sqnorm(tree: Any, dtype: Any) -> jax.Array:
    """``sum_j |tree_j|^2`` in ``dtype`` or wider."""

    def leaf_sqnorm(leaf):
        wide = jnp.abs(leaf).astype(dtype)
        return jnp.sum(wide * wide)

    sums = [leaf_sqnorm(leaf) for leaf in inexact_leaves(tree)]
    return functools.reduce(operator.add, sums, jnp.zeros((), dtype))


def conj(tree: Any) -> Any:
    """Complex leaves conjugated: from JAX's gradient to the direction of ascent."""
    return jax.tree.map(
        lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, tree
    )


def scale(factor: jax.Array, tree: Any) -> Any:
    """``factor * tree``, with the dtypes of ``tree``; integer leaves stay."""

    def leaf_scale(leaf):
        if not is_inexact(leaf):
            return leaf
        kind = jnp.result_type(leaf)
        product = factor.astype(jnp.promote_types(factor.dtype, kind)) * leaf
        return product.astype(kind)

    return jax.tree.map(leaf_scale, tree)


def zeros_like(leaf: Any) -> jax.Array:
    """Zeros made of the leaf itself, so that they lie where it lies on a mesh.

    What ``jnp.zeros_like`` makes under ``vmap`` has no sharding, and a select between
    it and a sharded leaf is a type error. XLA folds this one to a constant.
    """
    return ((leaf != leaf) & False).astype(leaf.dtype)


def zero_unless(condition: jax.Array, tree: Any) -> Any:
    """``tree`` where ``condition``, else zeros even for NaN; integer leaves stay."""
    return jax.tree.map(
        lambda leaf: (
            jnp.where(condition, leaf, zeros_like(jnp.asarray(leaf)))
            if is_inexact(leaf)
            else leaf
        ),
        tree,
    )


def difference(left: Any, right: Any) -> Any:
    """``left - right``; leaves that are not trained stay those of ``left``."""
    return jax.tree.map(lambda a, b: a - b if is_inexact(a) else a, left, right)


# XLA cancels two products with -1, such as that of ``optax.scale(-1.0)``, up to jax
# 0.10. Since then it cancels two negations only, and moves one out of a loop.
_NEGATES = jax.__version_info__ >= (0, 11)


def reverse(tree: Any) -> Any:
    """``-tree``; integer leaves stay. XLA cancels two of these, one after another."""

    def minus(leaf):
        return -leaf if _NEGATES else -1 * leaf

    return jax.tree.map(lambda leaf: minus(leaf) if is_inexact(leaf) else leaf, tree)


def reverse_again(tree: Any, step_size: jax.Array) -> Any:
    """``reverse``, within a loop over positive step sizes, and not moved out of it."""
    return scale(-(step_size / step_size), tree) if _NEGATES else reverse(tree)


def add_scaled(tree: Any, factor: jax.Array, other: Any, *, where: jax.Array) -> Any:
    """``tree + factor * other`` where ``where``, else ``tree`` even for NaN.

    The dtypes are those of ``tree``; its integer leaves stay as they are.
    """

    def leaf_add(leaf, term):
        if not is_inexact(leaf):
            return leaf
        kind = jnp.promote_types(factor.dtype, jnp.result_type(term))
        product = factor.astype(kind) * term
        product = jnp.where(where, product, zeros_like(product))
        return (leaf + product).astype(jnp.result_type(leaf))

    return jax.tree.map(leaf_add, tree, other)


def cast_like(tree: Any, like: Any) -> Any:
    """``tree`` with the dtypes of ``like``, so that a state never drifts.

    Typed keys have no dtype to be cast to, and stay as they are.
    """

    def leaf_cast(new, old):
        return new if is_key(old) else jnp.asarray(new).astype(jnp.result_type(old))

    return jax.tree.map(leaf_cast, tree, like)


def select(condition: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Leafwise ``where`` with the dtypes of ``on_false``."""
    cast = cast_like(on_true, on_false)
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), cast, on_false)


def either(condition: jax.Array, on_true: Callable, on_false: Callable) -> Any:
    """``on_true()`` or ``on_false()``, only the one that is asked for.

    An eager ``lax.cond`` compiles anew for every closure, which is every optimizer
    step.
    """
    if not isinstance(condition, Tracer):
        return on_true() if condition else on_false()

    def typed(branch: Callable) -> Callable:
        # Under shard_map the branches must vary over the same axes: those of a select.
        return lambda: jax.tree.map(
            lambda leaf: jnp.where(condition, leaf, leaf), branch()
        )

    return jax.lax.cond(condition, typed(on_true), typed(on_false))


def one_more(count: jax.Array) -> jax.Array:
    """``count + 1``; at the largest integer it stays."""
    return jnp.minimum(count, jnp.iinfo(count.dtype).max - 1) + 1


def fresh(tree: Any) -> Any:
    """Copies for a new state: no weak types, no buffer twice.

    A weakly typed state compiles a training loop twice; a buffer that stands in two
    fields cannot be donated.
    """
    return jax.tree.map(
        lambda leaf: jnp.array(leaf, jnp.result_type(leaf), copy=True), tree
    )
