"""One step: propose, search, decide, remember. The guards live here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.loss import unknown_value
from optaxls._engine.parts import Memories, Parts
from optaxls._engine.problem import make_problem
from optaxls.parts.types import (
    Displacement,
    Found,
    Memory,
    Origin,
    Outcome,
    Params,
    Path,
    Trial,
    ValueFn,
)


class Applied(NamedTuple):
    """The direction that the step size multiplies; is it the one that was tested?"""

    direction: Params
    tested: jax.Array | bool


Choose = Callable[[jax.Array], Applied]


class Step(NamedTuple):
    """The updates to add, how they came about, and the new memories."""

    updates: Params
    outcome: Outcome
    memories: Any


def _as_step_size(proposal: Any, like: jax.Array) -> jax.Array:
    """The proposal as a number that a search can start from: finite, not negative."""
    proposal = jnp.asarray(proposal, like.dtype)
    largest = jnp.finfo(proposal.dtype).max
    return jnp.clip(jnp.where(jnp.isnan(proposal), 0, proposal), 0, largest)


def _displace(origin: Origin, path: Path, step_size: jax.Array) -> Displacement:
    """What the path makes of the step; zeros of a step of 0, which it never sees."""
    moves = step_size > 0
    found = path.displace(origin, jnp.where(moves, step_size, 1))
    return Displacement(
        trees.zero_unless(moves, found.updates),
        jnp.where(moves, found.linear_change, 0).astype(step_size.dtype),
        jnp.where(moves, found.sqdistance, 0).astype(step_size.dtype),
    )


def _promises(origin: Origin, path: Path, proposal: jax.Array) -> jax.Array:
    """Whether the path promises a descent; it may divide by the step size."""
    moves = proposal > 0
    return moves & (path.predicted_slope(origin, jnp.where(moves, proposal, 1)) < 0)


def _untested(origin: Origin, proposal: jax.Array) -> Found:
    """What a search finds that makes no trial: the proposal."""
    none = jnp.zeros_like(proposal, jnp.int32)
    value, takes = unknown_value(origin.value), proposal > 0
    return Found(proposal, value, proposal, takes, takes, none, none)


def _outcome(origin: Origin, path: Path, found: Found, descends: jax.Array) -> Outcome:
    """What is taken of what was found: nothing where nothing descends."""

    def trial(step_size: jax.Array, value: jax.Array) -> Trial:
        _, linear_change, sqdistance = _displace(origin, path, step_size)
        return Trial(step_size, value, linear_change, sqdistance)

    takes = descends & found.takes & (found.step_size > 0)
    return Outcome(
        trial=trial(found.step_size, found.value),
        applied=trial(
            jnp.where(takes, found.step_size, 0),
            jnp.where(takes, found.value, origin.value),
        ),
        end_step=found.end_step,
        num_trials=found.num_trials,
        accepted=takes & found.accepted,
        num_fallback_trials=found.num_fallback_trials,
    )


def _apply(
    origin: Origin, path: Path, outcome: Outcome, choose: Choose | None
) -> tuple[Params, Outcome]:
    """The updates. A step of 0 is zeros whatever the path makes of it."""
    step_size, value = outcome.applied.step_size, outcome.applied.value
    if choose is None:
        return _displace(origin, path, step_size).updates, outcome
    direction, tested = choose(outcome.num_trials)
    # The path may read these scalars, so they have to be those of this direction.
    origin = origin._replace(
        direction=direction,
        slope=trees.inner(origin.grad, direction, step_size.dtype),
        direction_sqnorm=trees.sqnorm(direction, step_size.dtype),
    )
    updates, change, length = _displace(origin, path, step_size)
    known = tested | (step_size == 0)
    value = jnp.where(known, value, unknown_value(value))
    applied = Trial(step_size, value, change, length)
    return updates, outcome._replace(applied=applied)


def take_step(
    value_fn: ValueFn,
    origin: Origin,
    memories: Memories,
    parts: Parts,
    choose: Choose | None = None,
) -> Step:
    """Proposes, searches if the gate says so, and lets the parts remember.

    - Loss or slope not finite: no step, no trial, every memory as it was.
    - Nothing promised by the path (ascent, zero gradient): no step, no trial.
    - Every trial rejected: the fallback step if its trial did not climb, else no step.
    In all of them ``accepted`` is False. ``choose`` gives the direction to apply where
    that is not the direction searched.
    """
    finite = jnp.isfinite(origin.value) & jnp.isfinite(origin.slope)
    observed = Memories(
        parts.condition.observe(memories.condition, origin),
        parts.initial_step.observe(memories.initial_step, origin),
        parts.gate.observe(memories.gate, origin),
    )
    proposal = parts.initial_step.propose(observed.initial_step, origin)
    proposal = _as_step_size(proposal, origin.value)
    descends = finite & _promises(origin, parts.path, proposal)

    wanted = parts.gate.should_search(observed.gate, origin)
    searched = descends & wanted
    problem = make_problem(value_fn, origin, parts, observed.condition)
    found = parts.search(problem, proposal, searched)
    outcome = _outcome(origin, parts.path, found, descends)

    new = Memories(
        parts.condition.commit(observed.condition, origin, outcome),
        parts.initial_step.commit(observed.initial_step, origin, outcome),
        parts.gate.commit(observed.gate, origin, outcome),
    )
    updates, outcome = _apply(origin, parts.path, outcome, choose)
    return Step(updates, outcome, trees.select(finite, new, memories))


def take_untested_step(
    origin: Origin,
    memory: Memory,
    initial_step: Any,
    path: Path,
    choose: Choose | None = None,
) -> Step:
    """The proposal without a search, under the same guards as ``take_step``."""
    finite = jnp.isfinite(origin.value) & jnp.isfinite(origin.slope)
    observed = initial_step.observe(memory, origin)
    proposal = _as_step_size(initial_step.propose(observed, origin), origin.value)
    descends = finite & _promises(origin, path, proposal)
    outcome = _outcome(origin, path, _untested(origin, proposal), descends)
    new = initial_step.commit(observed, origin, outcome)
    updates, outcome = _apply(origin, path, outcome, choose)
    return Step(updates, outcome, trees.select(finite, new, memory))
