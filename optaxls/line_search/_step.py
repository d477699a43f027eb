"""One step of one rule: propose, search, decide, remember. Where the safety lives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _tree
from optaxls._types import (
    Condition,
    Displacement,
    Gate,
    InitialStep,
    Memory,
    Origin,
    Outcome,
    Path,
    Problem,
    Search,
    Trial,
    ValueFn,
    Verdict,
)
from optaxls.line_search import _value_fn


def shorten(outcome: Outcome, origin: Origin, fallback_step: Any) -> jax.Array:
    """The fallback step, or the rejected one if shorter; none next to a pole."""
    del origin
    retreat = jnp.minimum(fallback_step, outcome.trial.step_size)
    return jnp.where(jnp.isfinite(outcome.trial.value), retreat, 0)


def shorten_where_it_climbs(
    outcome: Outcome, origin: Origin, fallback_step: Any
) -> jax.Array:
    """``shorten``, and on to where the last trial says that the loss falls.

    The parabola through the loss and slope at the origin and the last, rejected trial
    climbs beyond twice its minimizer. A batch whose loss exploded would throw the
    params out of the world with any fixed step.
    """
    retreat = shorten(outcome, origin, fallback_step)
    step_size = outcome.trial.step_size
    rise = jnp.maximum(outcome.trial.value - origin.value, 0)
    drop = -origin.slope * step_size
    minimizer = 0.5 * step_size * drop / jnp.where(drop > 0, rise + drop, 1)
    return jnp.where(retreat > 2 * minimizer, minimizer, retreat)


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


class Step(NamedTuple):
    """The displacement to add, how it came about, and the new memories."""

    displacement: Displacement
    outcome: Outcome
    memories: Memories


def init_memories(rules: Rules, params: Any) -> Memories:
    """The parts' first memories."""
    return Memories(
        rules.condition.init(params),
        rules.initial_step.init(params),
        rules.gate.init(params),
    )


def _forgiven(origin: Origin, verdict: Verdict) -> jax.Array:
    """``origin.rounding`` where it decides, else 0, which saves a pass a step.

    Rounding lies between 0 and |f|: an excess outside of that is decided without it.
    """

    def close(excess: Any) -> jax.Array:
        return (excess > 0) & (excess <= jnp.abs(origin.value))

    def rounding() -> jax.Array:
        return _value_fn.rounding(
            origin.params, origin.grad, origin.value, origin.value_rounding
        )

    undecided = close(verdict.too_long) | close(verdict.too_short)
    return _tree.either(undecided, rounding, lambda: jnp.zeros_like(origin.value))


def _make_problem(
    value_fn: ValueFn, origin: Origin, rules: Rules, memory: Memory
) -> Problem:
    # The last thing done to a direction is a change of sign, optax.scale(-1). Undone
    # here it cancels, and made again inside the loop it is part of the trial's pass;
    # else -grad would be a second copy of the gradient, kept while the loop runs.
    reverse = _tree.reverse(origin.direction)

    def probe(step_size: jax.Array) -> Trial:
        here = origin._replace(direction=_tree.reverse(reverse))
        displacement = rules.path(here, step_size)
        value = value_fn(optax.apply_updates(origin.params, displacement.updates))
        return Trial(
            step_size,
            value.astype(origin.value.dtype),
            displacement.linear_change,
            displacement.sqdistance,
        )

    def judge(trial: Trial) -> Verdict:
        verdict = rules.condition.judge(memory, origin, trial)
        usable = jnp.isfinite(trial.value) & ~jnp.isnan(verdict.too_long)
        forgiven = _forgiven(origin, verdict)
        too_short = verdict.too_short - forgiven
        return Verdict(
            jnp.where(usable, verdict.too_long - forgiven, jnp.inf),
            jnp.where(jnp.isnan(too_short), -jnp.inf, too_short),
        )

    return Problem(origin, probe, judge)


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
    problem = _make_problem(value_fn, origin, rules, condition_memory)
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
    return Step(displacement, reported, _tree.select(finite, new, memories))
