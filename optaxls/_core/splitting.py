"""Which arguments of a loss have one entry per example."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees


def _is_array(leaf: Any) -> bool:
    """Whether a leaf has axes; numbers, strings and functions are never split."""
    return getattr(leaf, "ndim", 0) > 0


def _may_be_key(leaf: Any) -> bool:
    """Whether a leaf is a typed key, or looks like a ``jax.random.PRNGKey``."""
    legacy = leaf.dtype == jnp.uint32 and leaf.shape in ((2,), (4,))
    return trees.is_key(leaf) or legacy


def _arrays(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_array(leaf)]


def _guessed(caller: str, args: tuple, call: str) -> list[bool]:
    """Marks every array to be split, or raises where that may be wrong."""
    arrays = _arrays(args)
    lengths = Counter(leaf.shape[0] for leaf in arrays)
    suspects = [leaf for leaf in arrays if _may_be_key(leaf)]
    if len(lengths) <= 1 and not suspects:
        return [_is_array(leaf) for leaf in jax.tree.leaves(args)]
    (usual, _), *_ = lengths.most_common()

    def is_data(leaf: Any) -> bool:
        return leaf.shape[0] == usual and not _may_be_key(leaf)

    guess = tuple(bool(_arrays(a)) and all(map(is_data, _arrays(a))) for a in args)
    doubt = (
        f"one of {suspects[0].dtype}{list(suspects[0].shape)} may be a random key"
        if suspects
        else f"their shapes are {', '.join(str(leaf.shape) for leaf in arrays)}"
    )
    raise ValueError(
        f"{caller}: which arguments hold one entry per example cannot be known: "
        f"{doubt}. Say it, such as {caller}({call}, split={guess})."
    )


def _told(caller: str, split: Any, args: tuple) -> list[bool]:
    """Spreads ``split`` over all leaves of the arguments."""
    try:
        spread = jax.tree.map(
            lambda flag, arg: jax.tree.map(lambda _: flag, arg), split, args
        )
    except ValueError as error:
        raise ValueError(
            f"{caller}: split must be one bool, or a tuple with a bool or a tree of "
            f"bools for each of the {len(args)} arguments after params, got {split!r}"
        ) from error
    flags = jax.tree.leaves(spread)
    return [
        flag and _is_array(leaf)
        for flag, leaf in zip(flags, jax.tree.leaves(args), strict=True)
    ]


def checked_split(split: Any) -> Any:
    """Returns ``split``, or raises ValueError if it holds other things than bools."""
    if split is not None:
        for flag in jax.tree.leaves(split, is_leaf=lambda leaf: leaf is None):
            if not isinstance(flag, bool):
                raise ValueError(f"split must hold bools alone, got {flag!r}")
    return tuple(split) if isinstance(split, list) else split


def split_flags(caller: str, split: Any, args: tuple, call: str) -> list[bool]:
    """Says for each leaf of ``args`` whether it has one entry per example.

    Without ``split`` every array has, and what may be a key raises ValueError. The
    error names ``caller`` and what to write: ``call`` are its first arguments.
    """
    if split is None:
        return _guessed(caller, args, call)
    return _told(caller, split, args)
