"""Checks the parts, and writes the result of a step into the optimizer state."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arrays
from optaxls._engine.parts import Memories, Parts
from optaxls._engine.step import Step
from optaxls.parts.types import (
    Condition,
    Gate,
    InitialStep,
    LineSearchState,
    Origin,
    Params,
    Path,
)

_KINDS = {
    "condition": (Condition, "armijo()"),
    "initial_step": (InitialStep, "constant(1.0)"),
    "path": (Path, "along_direction or optaxls.Path(displace, predicted_slope)"),
    "gate": (Gate, "always()"),
}


def require_part(name: str, part: Any) -> None:
    """Raises TypeError, naming the argument, if a part is of another kind."""
    checks.require_part(name, part, *_KINDS[name])


def require_parts(parts: Parts) -> None:
    """Raises TypeError, naming the argument, if a part is of another kind."""
    for name in _KINDS:
        require_part(name, getattr(parts, name))
    checks.require_function("search", parts.search, "backtracking()")


def first_state(
    name: str, memories: Memories, params: Params, needs_slope: bool = False
) -> LineSearchState:
    """Returns the state before the first step, with zeros as its report.

    Its dtypes are those of all later states, so that a training loop compiles once.
    With ``needs_slope`` it holds a gradient, whose loss is infinite: not yet known.
    """
    require_arrays(name, params)
    zero = jnp.zeros((), trees.scalar_dtype(params))
    none, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    state = LineSearchState(zero, none, no, zero, zero, zero, *memories)
    if needs_slope:
        grad = jax.tree.map(trees.zeros_like, jax.tree.map(jnp.asarray, params))
        state = state._replace(trial_value=zero + jnp.inf, trial_grad=grad)
    return trees.fresh(state)


def memories_of(state: LineSearchState) -> Memories:
    """Returns the memories of the parts from a state."""
    return Memories(state.condition, state.initial_step, state.gate)


def next_state(
    step: Step, memories: Any, origin: Origin, state: LineSearchState
) -> LineSearchState:
    """Returns the state after a step, with the dtypes of ``state``."""
    new = LineSearchState(
        step.outcome.applied.step_size,
        step.outcome.num_trials + step.outcome.num_fallback_trials,
        step.outcome.accepted,
        origin.value,
        origin.slope,
        step.outcome.applied.value,
        *memories,
        trial_grad=step.outcome.applied.grad,
    )
    return trees.cast_like(new, state)
