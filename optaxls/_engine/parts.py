"""The parts that one step-size rule is made of, and their memories."""

from typing import Any, NamedTuple

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
    """Returns the memories before the first step."""
    return Memories(
        parts.condition.init(params),
        parts.initial_step.init(params),
        parts.gate.init(params),
    )
