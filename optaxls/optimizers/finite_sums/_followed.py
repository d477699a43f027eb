"""The last step size, grown, however short one search made it."""

import jax.numpy as jnp

from optaxls._core.robust import shortest
from optaxls.parts.initial_steps._resume import ResumeMemory, resume
from optaxls.parts.initial_steps.simple import grow
from optaxls.parts.types import InitialStep, Origin, Outcome


def followed(
    initial_step_size: float, growth: float, steps_per_epoch: float
) -> InitialStep:
    """Grows in every step that is made, and takes every accepted step as it is.

    ``grow`` goes back to the longer step after one search that ended far below it. A
    step that other functions of a sum take part in must hold for the steepest of them,
    which is seen once in an epoch.
    """

    def commit(memory: ResumeMemory, origin: Origin, outcome: Outcome) -> ResumeMemory:
        del origin
        reached = jnp.maximum(outcome.end_step, shortest(memory.start.dtype))
        untested = jnp.where(outcome.accepted, outcome.applied.step_size, memory.start)
        start = jnp.where(outcome.num_trials > 0, reached, untested)
        return resume(memory, outcome, start, jnp.zeros((), bool))

    rule = grow(initial_step_size, growth, steps_per_epoch)
    return rule._replace(commit=commit)
