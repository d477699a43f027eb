"""The one search engine: every trial of every rule is made by the loop in this file.

A search is a function ``(problem, first_step, enabled) -> Outcome``. It differs from
another only in how it goes from one round of trials to the next (``advance``); the
loop, its budget and its bookkeeping are shared. Only scalars travel through the loop:
the params are never overwritten, so nothing has to be restored.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls.parts.types import Outcome, Problem, Search, Trial


class Progress(NamedTuple):
    """Where a search stands. ``held``: the last trial that was not too long."""

    next_step: jax.Array
    held_step: jax.Array
    held_value: jax.Array
    holds: jax.Array
    last_value: jax.Array
    num_trials: jax.Array
    done: jax.Array


Advance = Callable[[Progress], Progress]


def while_loop(condition: Callable, body: Callable, carry: Any) -> Any:
    """``lax.while_loop`` when traced; the same functions one after another when not.

    An eager ``lax.while_loop`` compiles anew whenever its body is a new closure, which
    is every optimizer step (trap T13), and caching by the closure's identity would go
    on using an old batch. Running the body eagerly compiles nothing and is right.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(carry)):
        return jax.lax.while_loop(condition, body, carry)
    while condition(carry):
        carry = body(carry)
    return carry


def repeat(
    advance: Advance,
    problem: Problem,
    first_step: jax.Array,
    enabled: jax.Array,
    max_trials: int,
) -> Outcome:
    """Advances until done or until ``max_trials`` evaluations are spent."""
    value = problem.origin.value
    # Derived from the origin so that all of it is traced, or none.
    first_step = first_step.astype(value.dtype)
    no = jnp.zeros_like(enabled)
    start = Progress(
        next_step=first_step,
        held_step=jnp.zeros_like(first_step),
        held_value=value,
        holds=no,
        last_value=value,
        num_trials=no.astype(jnp.int32),
        done=~enabled,
    )
    end = while_loop(
        lambda progress: ~progress.done & (progress.num_trials < max_trials),
        advance,
        start,
    )
    step_size = jnp.where(end.holds, end.held_step, end.next_step)
    trial = Trial(
        step_size,
        jnp.where(end.holds, end.held_value, end.last_value),
        step_size * problem.origin.slope,
        step_size**2 * problem.origin.direction_sqnorm,
    )
    return Outcome(trial, end.num_trials, end.holds)


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
            return Progress(
                next_step=jnp.asarray(step_size, trial.step_size.dtype),
                held_step=jnp.where(fits, trial.step_size, progress.held_step),
                held_value=jnp.where(fits, trial.value, progress.held_value),
                holds=progress.holds | fits,
                last_value=trial.value,
                num_trials=progress.num_trials + 1,
                done=done,
            )

        return repeat(advance, problem, first_step, enabled, max_trials)

    return search
