"""The parts of one step-size rule, and what they remember."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from optaxls._engine.fallback import shorten_where_it_climbs
from optaxls.parts.types import (
    Condition,
    Gate,
    InitialStep,
    Memory,
    Origin,
    Outcome,
    Path,
    Search,
)


class Rules(NamedTuple):
    """The parts of one step-size rule; ``retreat``: what a failed search takes."""

    condition: Condition
    initial_step: InitialStep
    search: Search
    path: Path
    gate: Gate
    fallback_step: Any
    retreat: Callable[[Outcome, Origin, Any], jax.Array] = shorten_where_it_climbs


class Memories(NamedTuple):
    """What the parts remember."""

    condition: Memory
    initial_step: Memory
    gate: Memory


def init_memories(rules: Rules, params: Any) -> Memories:
    """The parts' first memories."""
    return Memories(
        rules.condition.init(params),
        rules.initial_step.init(params),
        rules.gate.init(params),
    )
