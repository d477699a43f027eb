"""The one loop in which every trial of every search is made.

Searches differ in how they go from one round of trials to the next (``advance``). The
loop, its budget and the trial of the fallback step are shared. Only scalars travel
through the loop: the params are never overwritten, so nothing has to be restored.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls._core import trees
from optaxls.parts.types import Outcome, Problem, Search, Trial


class Progress(NamedTuple):
    """Where a search stands.

    ``held`` is the last trial that was not too long, if ``holds``. ``last`` is the last
    trial made. ``fallback`` is the step to take if the search fails.
    """

    next_step: jax.Array
    held: Trial
    last: Trial
    fallback: Trial
    holds: jax.Array
    climbs: jax.Array
    num_trials: jax.Array
    done: jax.Array


Advance = Callable[[Progress], Progress]


def while_loop(condition: Callable, body: Callable, carry: Any) -> Any:
    """``lax.while_loop`` when traced; the same functions one after another when not.

    An eager ``lax.while_loop`` compiles anew whenever its body is a new closure, which
    is at every optimizer step. Running the body eagerly compiles nothing.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(carry)):
        return jax.lax.while_loop(condition, body, carry)
    while condition(carry):
        carry = body(carry)
    return carry


def no_step(problem: Problem) -> Trial:
    """A step of 0: the loss is the one at the origin."""
    value = problem.origin.value
    zero = jnp.zeros_like(value)
    return Trial(zero, value, zero, zero)


def _start(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Progress:
    # Derived from the origin so that all of it is traced, or none.
    none = no_step(problem)
    no = jnp.zeros_like(enabled)
    first_step = first_step.astype(none.value.dtype)
    return Progress(
        first_step, none, none, none, no, no, no.astype(jnp.int32), ~enabled
    )


def repeat(
    advance: Advance,
    problem: Problem,
    first_step: jax.Array,
    enabled: jax.Array,
    max_trials: int,
) -> Outcome:
    """Advances until done or until ``max_trials`` evaluations are spent.

    A search that failed makes one trial more, of the fallback step: no step is taken
    whose loss is not known. It is not longer than the step that comes next.
    """

    def fallback_step(progress: Progress) -> jax.Array:
        return jnp.minimum(problem.fallback_step, progress.next_step)

    def goes_on(progress: Progress) -> jax.Array:
        within = progress.num_trials < max_trials
        failed = (progress.num_trials == max_trials) & ~progress.holds
        return ~progress.done & (within | (failed & (fallback_step(progress) > 0)))

    def body(progress: Progress) -> Progress:
        spent = progress.num_trials == max_trials
        step_size = jnp.where(spent, fallback_step(progress), progress.next_step)
        new = advance(progress._replace(next_step=step_size))
        taken = trees.select(new.climbs, no_step(problem), new.last)
        final = progress._replace(
            fallback=taken, num_trials=new.num_trials, done=jnp.ones_like(new.done)
        )
        return trees.select(spent, final, new)

    end = while_loop(goes_on, body, _start(problem, first_step, enabled))
    return Outcome(
        trial=trees.select(end.holds, end.held, end.last),
        applied=trees.select(end.holds, end.held, end.fallback),
        end_step=jnp.where(end.holds, end.held.step_size, end.next_step),
        num_trials=jnp.minimum(end.num_trials, max_trials),
        accepted=end.holds,
        num_fallback_trials=jnp.maximum(end.num_trials - max_trials, 0),
    )


def one_at_a_time(next_step: Callable, max_trials: int) -> Search:
    """A search that makes one trial a round.

    ``next_step(progress, trial, verdict, problem) -> (step_size, done)``, where
    ``progress`` is from before the trial.
    """

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Outcome:
        def advance(progress: Progress) -> Progress:
            trial = problem.probe(progress.next_step)
            verdict = problem.judge(trial)
            fits = verdict.too_long <= 0
            step_size, done = next_step(progress, trial, verdict, problem)
            return progress._replace(
                next_step=jnp.asarray(step_size, trial.step_size.dtype),
                held=trees.select(fits, trial, progress.held),
                last=trial,
                holds=progress.holds | fits,
                climbs=problem.climbs(trial, verdict),
                num_trials=progress.num_trials + 1,
                done=done,
            )

        return repeat(advance, problem, first_step, enabled, max_trials)

    return search
