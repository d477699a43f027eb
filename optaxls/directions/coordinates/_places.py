"""A tree of real params as one vector, and back."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.directions.curvature._products import Reals, filled, real_leaves


def joined(leaves: Reals, dtype: Any) -> jax.Array:
    """The entries of all leaves as one vector."""
    return trees.raveled([jnp.zeros(0, dtype), *leaves])[0]


def split(tree: Any, vector: jax.Array) -> Reals:
    """The vector in pieces of the shapes of the tree's trained leaves."""
    return trees.raveled(real_leaves(tree, vector.dtype))[1](vector)


def require_real(name: str, tree: Any) -> None:
    """Raises TypeError if a leaf is complex; ``name`` is what errors name."""
    if any(map(jnp.iscomplexobj, trees.inexact_leaves(tree))):
        raise TypeError(f"{name}: the params must be real")


def flat(name: str, tree: Any, dtype: Any) -> jax.Array:
    """All entries of the trained leaves as a vector; ``name`` is what errors name."""
    require_real(name, tree)
    return joined(real_leaves(tree, dtype), dtype)


def like(tree: Any, vector: jax.Array) -> Any:
    """The vector as a tree with the dtypes of ``tree``; integer leaves are zeros."""
    zeros = jax.tree.map(jnp.zeros_like, tree)
    return filled(zeros, split(tree, vector))


def spread(name: str, prefix: Any, tree: Any, dtype: Any) -> jax.Array:
    """A number, or a prefix of the tree whose leaves broadcast, as a vector."""

    def leaf(given: Any, like: Any) -> Any:
        if not trees.is_inexact(like):
            return like
        return jnp.broadcast_to(jnp.asarray(given, dtype), jnp.shape(like))

    full = jax.tree.map(leaf, jax.tree.broadcast(prefix, tree), tree)
    return flat(name, full, dtype)
