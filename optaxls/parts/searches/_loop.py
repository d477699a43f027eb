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
from optaxls._core.loss import unknown_value
from optaxls.parts.types import Found, Params, Problem, Search, Trial, Verdict


class Progress(NamedTuple):
    """The state of a search between two rounds of trials.

    ``holds`` says whether a trial so far may be taken. If so, ``held_step`` and
    ``held_value`` are its step size and loss. It is the last trial that was not too
    long, or that of the fallback step. ``end_step`` is the step size of the next trial
    that the search itself, without its budget, would make. ``held_grad`` is the
    gradient of the held trial, where trials have one, and ``memory`` what the search
    itself keeps from trial to trial.
    """

    next_step: jax.Array
    end_step: jax.Array
    held_step: jax.Array
    held_value: jax.Array
    holds: jax.Array
    num_trials: jax.Array
    done: jax.Array
    held_grad: Params = ()
    memory: Any = ()


Advance = Callable[[Progress], Progress]


def while_loop(condition: Callable, body: Callable, carry: Any) -> Any:
    """Runs ``lax.while_loop`` when traced, and a Python loop otherwise.

    An eager ``lax.while_loop`` compiles anew whenever its body is a new closure, which
    is at every optimizer step. Running the body eagerly compiles nothing.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(carry)):
        return jax.lax.while_loop(condition, body, carry)
    while condition(carry):
        carry = body(carry)
    return carry


def _start(
    problem: Problem, first_step: jax.Array, enabled: jax.Array, memory: Any
) -> Progress:
    """Returns the progress before any trial; without a search it is already done."""
    # All leaves are derived from the origin, so that either all are traced or none.
    value = problem.origin.value
    first, none = first_step.astype(value.dtype), jnp.zeros_like(enabled, jnp.int32)
    unknown = unknown_value(value)
    start = Progress(first, first, first, unknown, ~enabled, none, ~enabled)
    return start._replace(held_grad=problem.grad, memory=memory)


def repeat(
    advance: Advance,
    problem: Problem,
    first_step: jax.Array,
    enabled: jax.Array,
    max_trials: int,
    memory: Any = (),
) -> Found:
    """Runs a search until it is done or has spent ``max_trials`` loss evaluations.

    A search that failed makes one more trial, of the fallback step, because a step is
    only made if its loss is known. The fallback step is at most as long as the next
    trial would have been. ``memory`` is what the search itself keeps, before any trial.
    """

    def body(progress: Progress) -> Progress:
        spent = progress.num_trials >= max_trials
        new = advance(progress)
        # The trial of the fallback step is the last one, and no trial of the search.
        end_step = jnp.where(spent, progress.end_step, new.next_step)
        exhausted = new.num_trials >= max_trials
        fallback_step = jnp.minimum(problem.fallback_step, end_step)
        ends = spent | (exhausted & (new.holds | (fallback_step <= 0)))
        return new._replace(
            next_step=jnp.where(exhausted, fallback_step, end_step),
            end_step=end_step,
            done=new.done | ends,
        )

    start = _start(problem, first_step, enabled, memory)
    end = while_loop(lambda progress: ~progress.done, body, start)
    accepted = end.holds & (end.num_trials <= max_trials)
    return Found(
        step_size=end.held_step,
        value=end.held_value,
        end_step=jnp.where(accepted, end.held_step, end.end_step),
        takes=end.holds,
        accepted=accepted,
        num_trials=jnp.minimum(end.num_trials, max_trials),
        num_fallback_trials=jnp.maximum(end.num_trials - max_trials, 0),
        grad=end.held_grad,
    )


def taken(
    problem: Problem, trial: Trial, verdict: Verdict, spent: jax.Array
) -> jax.Array:
    """Whether a trial may be taken; the fallback step must only decrease the loss."""
    # Not "or equal": far out on a plateau the loss can be the same to the last bit.
    descends = jnp.isfinite(trial.value) & (trial.value < problem.origin.value)
    return (verdict.too_long <= 0) | (spent & descends)


def after_trial(
    progress: Progress, trial: Trial, held: jax.Array, fits: jax.Array
) -> Progress:
    """Counts one trial, and holds it where ``held``; ``fits`` says it may be taken."""
    return progress._replace(
        held_step=jnp.where(held, trial.step_size, progress.held_step),
        held_value=jnp.where(held, trial.value, progress.held_value),
        held_grad=trees.select(held, trial.grad, progress.held_grad),
        holds=progress.holds | fits,
        num_trials=progress.num_trials + 1,
    )


def one_at_a_time(next_step: Callable, max_trials: int) -> Search:
    """Builds a search that makes one trial in each round.

    ``next_step(progress, trial, verdict, problem) -> (step_size, done)``, where
    ``progress`` is from before the trial.
    """

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Found:
        def advance(progress: Progress) -> Progress:
            trial = problem.probe(progress.next_step)
            verdict = problem.judge(trial)
            spent = progress.num_trials >= max_trials
            fits = taken(problem, trial, verdict, spent)
            held = fits | spent
            step_size, done = next_step(progress, trial, verdict, problem)
            return after_trial(progress, trial, held, fits)._replace(
                next_step=jnp.asarray(step_size, trial.step_size.dtype), done=done
            )

        return repeat(advance, problem, first_step, enabled, max_trials)

    return search
