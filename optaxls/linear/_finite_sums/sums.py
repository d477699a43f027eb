"""A tree of sums, by which an index is drawn in proportion to its weight."""

from typing import Any

import jax
import jax.numpy as jnp

# Children of a node: the tree of a million weights is seven arrays.
_CHILDREN = 8

# The weights first; then sums of eight, again and again, up to the last eight.
Sums = tuple[jax.Array, ...]


def _num_levels(size: int) -> int:
    levels = 1
    while _CHILDREN**levels < size:
        levels += 1
    return levels


def _children(level: jax.Array, node: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(level, (node * _CHILDREN,), (_CHILDREN,))


def _ends(children: jax.Array) -> list[jax.Array]:
    """The sums of the first one, two, ... children.

    They are written out, always in the same order. So the last of them is the sum that
    the parent holds to the last bit, and a draw never falls behind it.
    """
    ends = [children[..., 0]]
    for place in range(1, _CHILDREN):
        ends.append(ends[-1] + children[..., place])
    return ends


def sums_of(weights: jax.Array) -> Sums:
    """Builds the tree over ``weights`` (n,), each >= 0."""
    level, tree = weights, []
    for _ in range(_num_levels(weights.shape[0])):
        level = jnp.pad(level, (0, -level.shape[0] % _CHILDREN))
        tree.append(level)
        level = _ends(level.reshape(-1, _CHILDREN))[-1]
    return tuple(tree)


def total(tree: Sums) -> jax.Array:
    """The sum of all weights, scalar."""
    return _ends(tree[-1])[-1]


def replaced(tree: Sums, index: jax.Array, weight: jax.Array) -> Sums:
    """The tree with another weight at ``index``, in O(log n).

    Every sum on the path is added up anew from its children, so that no error remains
    of the weights that were there before.
    """
    new = []
    for level in tree:
        level = level.at[index].set(weight)
        index = index // _CHILDREN
        weight = _ends(_children(level, index))[-1]
        new.append(level)
    return tuple(new)


def drawn(tree: Sums, uniform: Any) -> jax.Array:
    """The index at the share ``uniform`` in [0, 1) of the total, int32, in O(log n).

    An index of weight 0 is drawn only where all weights are 0.
    """
    node = jnp.zeros((), jnp.int32)
    share = uniform * total(tree)
    for level in reversed(tree):
        children = _children(level, node)
        child, before, weight = jnp.zeros((), jnp.int32), 0.0, children[0]
        for place, end in enumerate(_ends(children)[:-1]):
            beyond = share >= end
            child = jnp.where(beyond, place + 1, child)
            before = jnp.where(beyond, end, before)
            weight = jnp.where(beyond, children[place + 1], weight)
        # Rounding of the difference must not lead beyond the last child below.
        share = jnp.minimum(share - before, jnp.nextafter(weight, 0.0))
        node = node * _CHILDREN + child
    return node
