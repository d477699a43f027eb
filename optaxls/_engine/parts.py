"""The parts that one step-size rule is made of, and their memories."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core.reports import tell_path
from optaxls.parts.types import Condition, Gate, InitialStep, Memory, Path, Search


class Parts(NamedTuple):
    """The parts of a step-size rule, and the step size to try after a failed search."""

    condition: Condition
    initial_step: InitialStep
    search: Search
    path: Path
    gate: Gate
    fallback_step: Any


class Memories(NamedTuple):
    """What each part with a memory remembers from step to step."""

    condition: Memory
    initial_step: Memory
    gate: Memory


def init_memories(parts: Parts, params: Any) -> Memories:
    """Returns the memories before the first step; the path is told to ``paths_of``."""
    tell_path(parts.path)
    return Memories(
        parts.condition.init(params),
        parts.initial_step.init(params),
        parts.gate.init(params),
    )


def _described(memory: Memory) -> str:
    kinds = jax.tree.map(lambda leaf: jax.typeof(leaf).str_short(), memory)
    return str(kinds)


def require_like(part: str, new: Memory, old: Memory) -> None:
    """Raises TypeError, naming the part, if its new memory is of another kind.

    Structure and shapes have to be the same. A float may become a narrower float, but
    not an integer: the state would be cast without a word.
    """
    same = jax.tree.structure(new) == jax.tree.structure(old)
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=False)
    for now, before in pairs if same else ():
        to, fro = jax.typeof(before), jax.typeof(now)
        same &= fro.shape == to.shape
        # Typed keys have dtypes of their own, of which NumPy knows nothing.
        same &= fro.dtype == to.dtype or jnp.can_cast(fro.dtype, to.dtype, "same_kind")
    if not same:
        raise TypeError(
            f"{part}: commit must return a memory of the same structure, shapes and "
            f"dtypes as init, got {_described(new)} after {_described(old)}"
        )
