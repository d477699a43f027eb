"""Checks of the arrays that measurements take.

JAX broadcasts and clamps where NumPy would raise: an index beyond the end reads the
last element. Arrays that do not belong together would give a plausible wrong number.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer


def _shapes(name: str, tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the leaves, by names such as ``data[0]``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name + jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def num_examples(name: str, tree: Any, minimum: int) -> int:
    """The length that the arrays of ``tree`` share; ValueError if they share none."""
    shapes = _shapes(name, tree)
    if not shapes:
        raise ValueError(f"{name} must hold arrays of examples, got none")
    for place, shape in shapes.items():
        if not shape:
            raise ValueError(
                f"{place} must have a leading axis of examples, got a scalar"
            )
    lengths = {shape[0] for shape in shapes.values()}
    if len(lengths) > 1:
        each = ", ".join(f"{shape[0]} ({place})" for place, shape in shapes.items())
        raise ValueError(
            f"the arrays of {name} must have as many examples each, got {each}"
        )
    (length,) = lengths
    if length < minimum:
        raise ValueError(f"{name} must have >= {minimum} examples, got {length}")
    return length


def require_vector(name: str, array: Any, minimum: int = 1) -> None:
    """Raises ValueError unless ``array`` has one axis of at least ``minimum``."""
    shape = jnp.asarray(array).shape
    if len(shape) != 1 or shape[0] < minimum:
        raise ValueError(
            f"{name} must have one axis of length >= {minimum}, got shape {shape}"
        )


def require_like(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Raises ValueError unless ``tree`` has the structure and shapes of ``other``."""
    found, expected = jax.tree.structure(tree), jax.tree.structure(other)
    if found != expected:
        raise ValueError(
            f"{name} must have the structure of {other_name}, {expected}, got {found}"
        )
    pairs = zip(
        _shapes(name, tree).items(), _shapes(other_name, other).items(), strict=True
    )
    for (place, shape), (other_place, other_shape) in pairs:
        if shape != other_shape:
            raise ValueError(
                f"{place} must have the shape of {other_place}, {other_shape},"
                f" got {shape}"
            )


def known_range(array: Any) -> tuple[jax.Array, jax.Array] | None:
    """The least and the largest entry; None for a traced or an empty array."""
    if isinstance(array, Tracer):
        return None
    # Under ``jit`` an array that is not traced has entries too.
    with jax.ensure_compile_time_eval():
        array = jnp.asarray(array)
        return (jnp.min(array), jnp.max(array)) if array.size else None


def require_classes(name: str, classes: Any, count: int) -> None:
    """Raises ValueError unless ``classes`` are integers in [0, count).

    Traced values are not known yet; of these only the dtype is checked.
    """
    dtype = jnp.result_type(classes)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"{name} must be integers, got {dtype}")
    known = known_range(classes)
    if known is None:
        return
    least, most = map(int, known)
    if least < 0 or most >= count:
        raise ValueError(
            f"{name} must lie in [0, {count}), got values from {least} to {most}"
        )
