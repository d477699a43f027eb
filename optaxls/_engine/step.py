"""Makes one step: proposes a step size, searches, and updates the memories.

All guards against losses, slopes and directions that are not finite are in this file.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import hold_integers
from optaxls._core.loss import unknown_value
from optaxls._engine.parts import Memories, Parts, require_like
from optaxls._engine.problem import make_problem
from optaxls.parts.paths._bounds import nudged
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
    """The direction that the step size multiplies, and whether the search tested it."""

    direction: Params
    tested: jax.Array | bool


class Choose(NamedTuple):
    """What is applied in place of the direction searched, and at which steps.

    ``apply`` gives the direction from how the search ended. Where ``usable`` is False,
    the batch counts as one whose loss is not finite. With ``goes_on`` a direction that
    is 0 is no reason to stay: the proposed step is made without a search.
    """

    apply: Callable[[Outcome], Applied]
    usable: jax.Array | bool = True
    goes_on: bool = False


class Step(NamedTuple):
    """The updates to add to the params, how the search ended, and the new memories."""

    updates: Params
    outcome: Outcome
    memories: Any


def _as_step_size(proposal: Any, like: jax.Array) -> jax.Array:
    """Clips a proposed step size to a finite number >= 0; NaN becomes 0."""
    proposal = jnp.asarray(proposal, like.dtype)
    largest = jnp.finfo(proposal.dtype).max
    return jnp.clip(jnp.where(jnp.isnan(proposal), 0, proposal), 0, largest)


def _displace(origin: Origin, path: Path, step_size: jax.Array) -> Displacement:
    """Returns the displacement of a step along the path, and zeros for a step of 0.

    The path is never called with a step size of 0, by which it may divide.
    """
    moves = step_size > 0
    found = path.displace(origin, jnp.where(moves, step_size, 1))
    return Displacement(
        trees.zero_unless(moves, found.updates),
        jnp.where(moves, found.linear_change, 0).astype(step_size.dtype),
        jnp.where(moves, found.sqdistance, 0).astype(step_size.dtype),
    )


def _promises(origin: Origin, path: Path, proposal: jax.Array) -> jax.Array:
    """Whether the path promises a decrease of the loss for the proposed step size."""
    # The path may divide by the step size, so 0 is replaced before the call.
    moves = proposal > 0
    return moves & (path.predicted_slope(origin, jnp.where(moves, proposal, 1)) < 0)


def _usable(origin: Origin, choose: Choose | None) -> jax.Array:
    """Whether the batch may change anything: its loss and slope are finite."""
    finite = jnp.isfinite(origin.value) & jnp.isfinite(origin.slope)
    if choose is None or choose.usable is True:
        return finite
    return finite & choose.usable


def _moves(
    origin: Origin,
    finite: jax.Array,
    descends: jax.Array,
    proposal: jax.Array,
    choose: Choose | None,
) -> jax.Array:
    """Whether a step is made if no trial forbids it."""
    if choose is None or not choose.goes_on:
        return descends
    return descends | (finite & (origin.slope == 0) & (proposal > 0))


class _Entry(NamedTuple):
    """The displacement into the domain of a penalty, and whether it has to be made."""

    updates: Params
    outside: jax.Array


def _entry(origin: Origin, path: Path) -> _Entry | None:
    """How params come into the domain of the path's penalty; None if all lie in it.

    What differs by the rounding of a projection lies inside.
    """
    if path.prox is None or path.prox.domain is None:
        return None
    wide = trees.wide(origin.params)
    way = trees.difference(path.prox.domain(wide), wide)
    way = trees.cast_like(hold_integers(way, origin.params), origin.params)
    if path.prox.bounds is not None:
        way = nudged(path.prox.bounds, origin.params, way)
    far = jnp.zeros((), bool)
    for update, leaf in zip(
        trees.inexact_leaves(way), trees.inexact_leaves(origin.params), strict=True
    ):
        rounding = 8 * float(jnp.finfo(leaf.dtype).eps)
        length = jnp.max(jnp.abs(leaf), initial=0)
        far |= jnp.max(jnp.abs(update), initial=0) > rounding * length
    return _Entry(way, far)


def _entered(entry: _Entry | None, finite: jax.Array, step: Step) -> Step:
    """The step onto the set from outside of it, else ``step``."""
    if entry is None:
        return step
    enters = finite & entry.outside
    applied = step.outcome.applied
    value = jnp.where(enters, unknown_value(applied.value), applied.value)
    return Step(
        trees.select(enters, entry.updates, step.updates),
        step.outcome._replace(applied=applied._replace(value=value)),
        step.memories,
    )


def _written_first(memories: Any, outcome: Outcome) -> tuple[Any, Outcome]:
    """Both, with a step size that is known only when the memories are.

    A memory such as a mean of the params reads them. XLA overwrites params that are
    donated, and copies them before if something may still read them later.
    """
    step_size = outcome.applied.step_size
    memories, step_size = trees.in_this_order(memories, step_size)
    applied = outcome.applied._replace(step_size=step_size)
    return memories, outcome._replace(applied=applied)


def _untested(origin: Origin, proposal: jax.Array) -> Found:
    """Returns the proposed step size as the result of a search without any trial."""
    none = jnp.zeros_like(proposal, jnp.int32)
    value, takes = unknown_value(origin.value), proposal > 0
    return Found(proposal, value, proposal, takes, takes, none, none)


def _grad_after(origin: Origin, found: Found, takes: jax.Array) -> Params:
    """Returns the gradient at the end of the step, or () if trials have none."""
    if isinstance(found.grad, tuple) and found.grad == ():
        return ()
    return trees.select(takes, found.grad, hold_integers(origin.grad, origin.params))


def _outcome(origin: Origin, path: Path, found: Found, moves: jax.Array) -> Outcome:
    """Decides which step is made, which is a step of 0 unless it ``moves``."""

    def trial(step_size: jax.Array, value: jax.Array, grad: Params) -> Trial:
        _, linear_change, sqdistance = _displace(origin, path, step_size)
        return Trial(step_size, value, linear_change, sqdistance, grad=grad)

    takes = moves & found.takes & (found.step_size > 0)
    return Outcome(
        trial=trial(found.step_size, found.value, found.grad),
        applied=trial(
            jnp.where(takes, found.step_size, 0),
            jnp.where(takes, found.value, origin.value),
            _grad_after(origin, found, takes),
        ),
        end_step=found.end_step,
        num_trials=found.num_trials,
        accepted=takes & found.accepted,
        num_fallback_trials=found.num_fallback_trials,
    )


def _apply(
    origin: Origin, path: Path, outcome: Outcome, choose: Choose | None
) -> tuple[Params, Outcome]:
    """Returns the updates of the step that was decided, and the outcome for them.

    With ``choose`` the step size multiplies another direction than the one searched.
    The loss is then known only if ``choose`` says that this direction was tested.
    """
    step_size, value = outcome.applied.step_size, outcome.applied.value
    if choose is None:
        return _displace(origin, path, step_size).updates, outcome
    direction, tested = choose.apply(outcome)
    # The path may read slope and norm, so they have to be those of this direction.
    origin = origin._replace(
        direction=direction,
        slope=trees.inner(origin.grad, direction, step_size.dtype),
        direction_sqnorm=trees.sqnorm(direction, step_size.dtype),
    )
    updates, change, length = _displace(origin, path, step_size)
    known = tested | (step_size == 0)
    value = jnp.where(known, value, unknown_value(value))
    applied = Trial(step_size, value, change, length, grad=outcome.applied.grad)
    return updates, outcome._replace(applied=applied)


def take_step(
    value_fn: ValueFn,
    origin: Origin,
    memories: Memories,
    parts: Parts,
    choose: Choose | None = None,
) -> Step:
    """Makes one step: proposes a step size, searches from it if the gate asks for it.

    Three things can go wrong, and ``accepted`` is False after each of them.

    - The loss or slope is not finite: there is no step and no trial, and every memory
      is unchanged.
    - The path promises no decrease (ascent, zero gradient): there is no step or trial.
    - Every trial is rejected: the fallback step is made if it decreased the loss.

    From outside of the set of a path the step leads onto the set, without any trial.
    ``choose`` tells the direction to apply if that is not the direction searched.
    """
    finite = _usable(origin, choose)
    observed = Memories(
        parts.condition.observe(memories.condition, origin),
        parts.initial_step.observe(memories.initial_step, origin),
        parts.gate.observe(memories.gate, origin),
    )
    proposal = parts.initial_step.propose(observed.initial_step, origin)
    proposal = _as_step_size(proposal, origin.value)
    descends = finite & _promises(origin, parts.path, proposal)
    entry = _entry(origin, parts.path)
    if entry is not None:
        descends &= ~entry.outside

    wanted = parts.gate.should_search(observed.gate, origin)
    searched = descends & wanted
    problem = make_problem(value_fn, origin, parts, observed.condition)
    found = parts.search(problem, proposal, searched)
    moves = _moves(origin, finite, descends, proposal, choose)
    outcome = _outcome(origin, parts.path, found, moves)

    new = Memories(
        parts.condition.commit(observed.condition, origin, outcome),
        parts.initial_step.commit(observed.initial_step, origin, outcome),
        parts.gate.commit(observed.gate, origin, outcome),
    )
    for part, memory, old in zip(Memories._fields, new, memories, strict=True):
        require_like(part, memory, old)
    kept, outcome = _written_first(trees.select(finite, new, memories), outcome)
    updates, outcome = _apply(origin, parts.path, outcome, choose)
    step = Step(updates, outcome, kept)
    return _entered(entry, finite, step)


def take_untested_step(
    origin: Origin,
    memory: Memory,
    initial_step: Any,
    path: Path,
    choose: Choose | None = None,
) -> Step:
    """Makes a step of the proposed size without a search.

    Losses that are not finite and directions of ascent give no step, as with a search.
    """
    finite = _usable(origin, choose)
    observed = initial_step.observe(memory, origin)
    proposal = _as_step_size(initial_step.propose(observed, origin), origin.value)
    descends = finite & _promises(origin, path, proposal)
    entry = _entry(origin, path)
    if entry is not None:
        descends &= ~entry.outside
    moves = _moves(origin, finite, descends, proposal, choose)
    outcome = _outcome(origin, path, _untested(origin, proposal), moves)
    new = initial_step.commit(observed, origin, outcome)
    require_like("initial_step", new, memory)
    kept, outcome = _written_first(trees.select(finite, new, memory), outcome)
    updates, outcome = _apply(origin, path, outcome, choose)
    step = Step(updates, outcome, kept)
    return _entered(entry, finite, step)
