"""The parts of one step-size rule, and what they remember."""

from typing import Any, NamedTuple

from optaxls.parts.types import Condition, Gate, InitialStep, Memory, Path, Search


class Parts(NamedTuple):
    """What a step is made of; ``fallback_step`` is tried after a failed search."""

    condition: Condition
    initial_step: InitialStep
    search: Search
    path: Path
    gate: Gate
    fallback_step: Any


class Memories(NamedTuple):
    """What the parts remember."""

    condition: Memory
    initial_step: Memory
    gate: Memory


def init_memories(parts: Parts, params: Any) -> Memories:
    """The parts' first memories."""
    return Memories(
        parts.condition.init(params),
        parts.initial_step.init(params),
        parts.gate.init(params),
    )
