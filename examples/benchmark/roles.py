"""Which leaves of a network Muon steps along as matrices, and as which matrices.

The names that Flax gives tell. Not matrices are embeddings, biases and other vectors,
the first convolution of a network and its head, the last of its own dense layers.
"""

import math
from typing import Any

import jax
import optax.contrib

_VECTORS = ("bias", "scale", "mean", "var", "embedding", "places")


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    names = tuple(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
    return names[1:] if names[:1] == ("params",) else names


def _edges(params: Any) -> set[str]:
    """The modules at both ends of the network: its first convolution, its head."""
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    own = {names[0] for path, _ in paths if len(names := _names(path)) == 2}
    numbers = [int(n[6:]) for n in own if n.startswith("Dense_") and n[6:].isdigit()]
    return {f"Dense_{max(numbers, default=0)}", "Conv_0"} & own


def labels(params: Any) -> Any:
    """The tree of `"hidden"`, for Muon, and `"other"`, for Adam."""
    edges = _edges(params)

    def label(path: tuple[Any, ...], leaf: jax.Array) -> str:
        *modules, name = _names(path)
        vector = leaf.ndim < 2 or name in _VECTORS
        return "other" if vector or edges.intersection(modules[:1]) else "hidden"

    return jax.tree_util.tree_map_with_path(label, params)


def inputs(tree: Any) -> Any:
    """How many of the first axes of a kernel run over inputs: all but one, or one."""

    def number(path: tuple[Any, ...], leaf: jax.Array) -> int:
        attends = {"query", "key", "value"}.intersection(_names(path))
        return 1 if attends else leaf.ndim - 1

    return jax.tree_util.tree_map_with_path(number, tree)


def axes(tree: Any) -> Any:
    """The same, as optax's Muon asks for it."""

    def numbers(number: int, leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers:
        every = tuple(range(leaf.ndim))
        return optax.contrib.MuonDimensionNumbers(every[:number], every[number:])

    return jax.tree.map(numbers, inputs(tree), tree)


def matrix(leaf: jax.Array, number: int) -> jax.Array:
    """A kernel whose first axes, so many, run over inputs, as inputs times outputs."""
    return leaf.reshape(math.prod(leaf.shape[:number]), -1)
