"""From the engine's step to optax's updates and state."""

import jax.numpy as jnp

from optaxls._core import trees
from optaxls._engine.parts import Memories, Rules, init_memories
from optaxls._engine.step import take_step
from optaxls.parts.types import Origin, Params, ValueFn
from optaxls.transforms.state import LineSearchState


def init_state(rules: Rules, params: Params) -> LineSearchState:
    """Zeros of the final dtypes, so that a training loop compiles once."""
    zero = jnp.zeros((), trees.scalar_dtype(params))
    memories = init_memories(rules, params)
    none, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    state = LineSearchState(zero, none, no, zero, zero, zero, *memories)
    return trees.fresh(state)


def step_transformation(
    value_fn: ValueFn, origin: Origin, state: LineSearchState, rules: Rules
) -> tuple[Params, LineSearchState]:
    """One step, in the words of optax: updates and the next state, dtypes unchanged."""
    memories = Memories(state.condition, state.initial_step, state.gate)
    step = take_step(value_fn, origin, memories, rules)
    trial = step.outcome.trial
    new = LineSearchState(
        trial.step_size,
        step.outcome.num_trials,
        step.outcome.accepted,
        origin.value,
        origin.slope,
        trial.value,
        *step.memories,
    )
    return step.displacement.updates, trees.cast_like(new, state)
