"""One step: propose, search, decide, remember. The guards live here."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._engine.parts import Memories, Rules
from optaxls._engine.problem import make_problem
from optaxls.parts.types import Displacement, Origin, Outcome, ValueFn


class Step(NamedTuple):
    """The displacement to add, how it came about, and the new memories."""

    displacement: Displacement
    outcome: Outcome
    memories: Memories


def _decide(
    outcome: Outcome,
    searched: jax.Array,
    descends: jax.Array,
    origin: Origin,
    rules: Rules,
) -> Outcome:
    """What is reported: the step size that is applied, and whether it was accepted."""
    step_size = outcome.trial.step_size
    retreat = rules.retreat(outcome, origin, rules.fallback_step)
    taken = jnp.where(searched & ~outcome.accepted, retreat, step_size)
    accepted = descends & (outcome.accepted | ~searched) & (step_size > 0)
    trial = outcome.trial._replace(step_size=jnp.where(descends, taken, 0))
    return Outcome(trial, outcome.num_trials, accepted)


def take_step(
    value_fn: ValueFn, origin: Origin, memories: Memories, rules: Rules
) -> Step:
    """Proposes, searches if the gate says so, and lets the parts remember.

    - Loss or slope not finite: no step, no trial, every memory as it was.
    - Slope >= 0 (ascent, zero gradient): no step, no trial.
    - Every trial rejected: the fallback step, or a shorter one if the last trial says
      that it climbs; no step if that trial's loss was not finite.
    In all of them ``accepted`` is False.
    """
    finite = jnp.isfinite(origin.value) & jnp.isfinite(origin.slope)
    descends = finite & (origin.slope < 0)
    condition_memory = rules.condition.observe(memories.condition, origin)
    proposal = rules.initial_step.propose(memories.initial_step, origin)
    proposal = jnp.asarray(proposal, origin.value.dtype)
    largest = jnp.finfo(proposal.dtype).max
    proposal = jnp.clip(jnp.where(jnp.isnan(proposal), 0, proposal), 0, largest)

    wanted = rules.gate.should_search(memories.gate, origin)
    searched = descends & wanted & (proposal > 0)
    problem = make_problem(value_fn, origin, rules, condition_memory)
    found = rules.search(problem, proposal, searched)
    reported = _decide(found, searched, descends, origin, rules)

    # The parts see where the search stands; the caller sees what was applied.
    seen = found._replace(accepted=reported.accepted)
    new = Memories(
        rules.condition.commit(condition_memory, origin, seen),
        rules.initial_step.commit(memories.initial_step, origin, seen),
        rules.gate.commit(memories.gate, origin, seen),
    )
    displacement = rules.path(origin, reported.trial.step_size)
    return Step(displacement, reported, trees.select(finite, new, memories))
