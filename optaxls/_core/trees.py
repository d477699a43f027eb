"""Arithmetic on trees of params; sums are in float32 or wider for any leaf dtype."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is floating-point or complex, and so can be trained."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def is_key(leaf: Any) -> bool:
    """Whether a leaf holds typed keys, which allow neither arithmetic nor casts."""
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def inexact_leaves(tree: Any) -> list[jax.Array]:
    """Returns the floating-point and complex leaves, the ones that can be trained."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if is_inexact(leaf)]


def scalar_dtype(params: Any) -> Any:
    """Returns float32, or float64 if a leaf is float64 or complex128."""
    widths = [jnp.finfo(jnp.result_type(leaf)).dtype for leaf in inexact_leaves(params)]
    return functools.reduce(jnp.promote_types, widths, jnp.dtype(jnp.float32))


def ranged(tree: Any) -> Any:
    """Casts float16 leaves to float32: in float16 the square of 1e3 is infinite."""

    def leaf_ranged(leaf):
        half = jnp.result_type(leaf) == jnp.float16
        return jnp.asarray(leaf, jnp.float32) if half else leaf

    return jax.tree.map(leaf_ranged, tree)


def inner(left: Any, right: Any, dtype: Any) -> jax.Array:
    """Returns the real part of ``sum_j left_j right_j`` in ``dtype`` or wider.

    Nothing is conjugated: JAX's gradient of a real loss in complex params is the
    conjugate of the ascent direction, so this is the directional derivative.
    """

    def leaf_product(a, b):
        product = jnp.asarray(a, jnp.promote_types(dtype, jnp.result_type(a))) * b
        return jnp.sum(jnp.real(product), dtype=dtype)

    pairs = zip(inexact_leaves(left), inexact_leaves(right), strict=True)
    products = [leaf_product(a, b) for a, b in pairs]
    return functools.reduce(operator.add, products, jnp.zeros((), dtype))


# A longer vector is not added up entry by entry: in float32 the last would be lost.
_LONGEST = 2**16


def _add_each(left: Any, right: Any) -> Any:
    """A function of its own: outside of jit a new one at each call compiles anew."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


@jax.custom_jvp
def _leaf_sums(*terms: jax.Array) -> tuple[jax.Array, ...]:
    """The sum of each term: over the last axis first, so that roundings stay few."""
    if terms[0].ndim == 1 and terms[0].size > _LONGEST:
        return tuple(jnp.sum(term, dtype=term.dtype) for term in terms)

    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    last = terms[0].ndim - 1
    rows = jax.lax.reduce(terms, zeros, _add_each, (last,)) if last >= 0 else terms
    return jax.lax.reduce(rows, zeros, _add_each, tuple(range(last)))


@_leaf_sums.defjvp
def _leaf_sums_jvp(terms: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    """That of ``lax.reduce`` fails where a term, such as a count, has no tangent."""
    return _leaf_sums(*terms), tuple(map(jnp.sum, tangents))


def sums(
    leaf_terms: Callable[..., tuple[jax.Array, ...]], *trees: Any
) -> tuple[jax.Array, ...]:
    """Returns the sums of several terms over all entries, in one pass.

    ``leaf_terms`` gives real arrays of the shape of a leaf, from a leaf of each tree.
    Leaves that cannot be trained are left out. Of sums that are written one by one, XLA
    stores the terms that they share, and compiles three programs for each.
    """
    leaves = list(zip(*map(inexact_leaves, trees), strict=True))
    nothing = (jnp.zeros(0),) * len(trees)
    found = [_leaf_sums(*leaf_terms(*entries)) for entries in leaves or [nothing]]
    parts = zip(*found, strict=True)
    return tuple(functools.reduce(operator.add, part) for part in parts)


def inner_and_abs(left: Any, right: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Returns ``inner`` and the sum of the absolute values of its terms."""

    def leaf_terms(a, b):
        product = jnp.asarray(a, jnp.promote_types(dtype, jnp.result_type(a))) * b
        terms = jnp.real(product).astype(dtype)
        return terms, jnp.abs(terms)

    total, size = sums(leaf_terms, left, right)
    return total, size


def moved_lengths(
    direction: Any, params: Any, dtype: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Lengths of params, direction and a vector of ones, where the direction is not 0.

    They are Euclidean, and found in one pass.
    """

    def leaf_terms(d, w):
        # A product with the mask keeps the sharding that a select would lose in vmap.
        # The count is a float: an integer overflows for models of two billion params.
        moving = (d != 0).astype(dtype)
        d, w = jnp.abs(d).astype(dtype), jnp.abs(w).astype(dtype)
        return moving * w * w, d * d, moving

    length, unit, ones = sums(leaf_terms, direction, params)
    return jnp.sqrt(length), jnp.sqrt(unit), jnp.sqrt(ones)


def sqnorm(tree: Any, dtype: Any) -> jax.Array:
    """Returns ``sum_j |tree_j|^2`` in ``dtype`` or wider."""

    def leaf_sqnorm(leaf):
        wide = jnp.abs(leaf).astype(dtype)
        return jnp.sum(wide * wide)

    sums = [leaf_sqnorm(leaf) for leaf in inexact_leaves(tree)]
    return functools.reduce(operator.add, sums, jnp.zeros((), dtype))


def conj(tree: Any) -> Any:
    """Conjugates complex leaves: JAX's gradient becomes the ascent direction."""
    return jax.tree.map(
        lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, tree
    )


def scale(factor: jax.Array, tree: Any) -> Any:
    """Returns ``factor * tree`` in the dtypes of ``tree``; integers are unchanged."""

    def leaf_scale(leaf):
        if not is_inexact(leaf):
            return leaf
        kind = jnp.result_type(leaf)
        product = factor.astype(jnp.promote_types(factor.dtype, kind)) * leaf
        return product.astype(kind)

    return jax.tree.map(leaf_scale, tree)


def zeros_like(leaf: Any) -> jax.Array:
    """Makes zeros from the leaf itself, so that they have its sharding on a mesh.

    Under ``vmap`` the zeros of ``jnp.zeros_like`` have no sharding, and a select
    between them and a sharded leaf is a type error. XLA folds these to a constant.
    """
    return ((leaf != leaf) & False).astype(leaf.dtype)


def zero_unless(condition: jax.Array, tree: Any) -> Any:
    """Returns ``tree`` if ``condition``, else zeros, even for leaves that are NaN.

    Integer leaves are unchanged.
    """
    return jax.tree.map(
        lambda leaf: (
            jnp.where(condition, leaf, zeros_like(jnp.asarray(leaf)))
            if is_inexact(leaf)
            else leaf
        ),
        tree,
    )


def plus(left: Any, right: Any) -> Any:
    """Returns ``left + right``; integer leaves and keys are those of ``left``."""
    return jax.tree.map(lambda a, b: a + b if is_inexact(a) else a, left, right)


def difference(left: Any, right: Any) -> Any:
    """Returns ``left - right``; integer leaves and keys are those of ``left``."""
    return jax.tree.map(lambda a, b: a - b if is_inexact(a) else a, left, right)


# Up to jax 0.10 XLA cancels two products with -1 (``optax.scale(-1.0)`` makes one).
# Later versions cancel two negations only, and they move a negation out of a loop.
_NEGATES = jax.__version_info__ >= (0, 11)


def reverse(tree: Any) -> Any:
    """Returns ``-tree``; XLA cancels two calls in a row. Integers are unchanged."""

    def minus(leaf):
        return -leaf if _NEGATES else -1 * leaf

    return jax.tree.map(lambda leaf: minus(leaf) if is_inexact(leaf) else leaf, tree)


def reverse_again(tree: Any, step_size: jax.Array) -> Any:
    """Returns ``-tree`` inside a loop, so that XLA cannot move the change of sign out.

    ``step_size`` is positive and changes in the loop. It ties the sign to the loop:
    outside of it, XLA would store a second copy of the tree.
    """
    return scale(-(step_size / step_size), tree) if _NEGATES else reverse(tree)


def add_scaled(tree: Any, factor: jax.Array, other: Any, *, where: jax.Array) -> Any:
    """Returns ``tree + factor * other`` if ``where``, else ``tree``, even for NaN.

    The dtypes are those of ``tree``, and its integer leaves are unchanged.
    """

    def leaf_add(leaf, term):
        if not is_inexact(leaf):
            return leaf
        kind = jnp.promote_types(factor.dtype, jnp.result_type(term))
        product = factor.astype(kind) * term
        product = jnp.where(where, product, zeros_like(product))
        return (leaf + product).astype(jnp.result_type(leaf))

    return jax.tree.map(leaf_add, tree, other)


def wide(tree: Any, dtype: Any = jnp.float32) -> Any:
    """Casts to ``dtype`` or wider, for averages that have to move in small steps.

    Integer leaves keep their dtype.
    """

    def leaf_wide(leaf):
        if not is_inexact(leaf):
            return jnp.asarray(leaf)
        kind = jnp.promote_types(jnp.result_type(leaf), dtype)
        return jnp.asarray(leaf, kind)

    return jax.tree.map(leaf_wide, tree)


def toward(mean: Any, weight: jax.Array, tree: Any) -> Any:
    """Returns ``mean + weight * (tree - mean)``; integer leaves are those of ``mean``.

    It is written with ``mean - tree``. Where ``tree - mean`` is needed besides, XLA
    would else share the two, which keeps one more copy alive.
    """

    def leaf_toward(m, w):
        return m - weight.astype(jnp.real(m).dtype) * (m - w) if is_inexact(w) else m

    return jax.tree.map(leaf_toward, mean, tree)


def cast_like(tree: Any, like: Any) -> Any:
    """Casts ``tree`` to the dtypes of ``like``, so that those of a state never change.

    Typed keys cannot be cast and are unchanged.
    """

    def leaf_cast(new, old):
        return new if is_key(old) else jnp.asarray(new).astype(jnp.result_type(old))

    return jax.tree.map(leaf_cast, tree, like)


def select(condition: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Returns ``on_true`` if ``condition``, else ``on_false``, in its dtypes."""
    cast = cast_like(on_true, on_false)
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), cast, on_false)


def either(condition: jax.Array, on_true: Callable, on_false: Callable) -> Any:
    """Calls ``on_true`` if ``condition``, else ``on_false``, and not the other one.

    Outside of ``jit`` it is a Python ``if``: there ``lax.cond`` would compile anew for
    the new closures of every optimizer step.
    """
    if not isinstance(condition, Tracer):
        return on_true() if condition else on_false()

    def typed(branch: Callable) -> Callable:
        # Under shard_map both branches must vary over the same mesh axes. A select
        # with the condition gives them those of the condition.
        return lambda: jax.tree.map(
            lambda leaf: jnp.where(condition, leaf, leaf), branch()
        )

    return jax.lax.cond(condition, typed(on_true), typed(on_false))


def in_this_order(first: Any, second: Any) -> tuple[Any, Any]:
    """Both trees; what is computed from ``second`` waits until ``first`` is known.

    XLA keeps that order from jax 0.12 on. Before, there is none.
    """
    if jax.__version_info__ < (0, 12):
        return first, second
    return jax.lax.optimization_barrier((first, second))


def one_more(count: jax.Array) -> jax.Array:
    """Returns ``count + 1``, or ``count`` if that is the largest integer."""
    return jnp.minimum(count, jnp.iinfo(count.dtype).max - 1) + 1


def _laid_out(leaf: jax.Array, like: jax.Array, whole: bool) -> jax.Array:
    """``leaf`` along the explicit axes of a mesh as ``like``, or along none of them."""
    sharding = jax.typeof(like).sharding
    if all(axis is None for axis in sharding.spec):
        return leaf
    spec = PartitionSpec() if whole else sharding.spec
    return jax.sharding.reshard(leaf, NamedSharding(sharding.mesh, spec))


def raveled(
    leaves: list[jax.Array],
) -> tuple[jax.Array, Callable[[jax.Array], list[jax.Array]]]:
    """Returns all entries as one vector, and its inverse.

    Every device of a mesh has the whole vector. The inverse splits the leaves again,
    which explicit axes do not do by themselves.
    """
    vector, unravel = ravel_pytree([_laid_out(leaf, leaf, True) for leaf in leaves])

    def inverse(vector: jax.Array) -> list[jax.Array]:
        pieces = zip(unravel(vector), leaves, strict=True)
        return [_laid_out(piece, leaf, False) for piece, leaf in pieces]

    return vector, inverse


def fresh(tree: Any) -> Any:
    """Copies the leaves of a new state, and removes their weak types.

    A weakly typed state would compile a training loop twice, and a buffer that is in
    two fields cannot be donated.
    """
    return jax.tree.map(
        lambda leaf: jnp.array(leaf, jnp.result_type(leaf), copy=True), tree
    )
