"""The way back from a failed search, shared by the initial steps that remember one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.parts.types import Outcome

# A step this much shorter than the one before is doubted until the next batch agrees.
COLLAPSE = 0.01


class ResumeMemory(NamedTuple):
    """A number that searches leave behind, and the way back from a failed one.

    ``level`` is what the next proposal starts from. While searches fail,
    ``earlier_level`` is the level before the first failure. ``credit`` says whether it
    is worth going back to: 2 once a search from it succeeded, 1 before that and while
    no more than one has failed, 0 after going back.
    """

    level: jax.Array
    earlier_level: jax.Array
    credit: jax.Array
    failing: jax.Array


def start(level: Any, dtype: Any) -> ResumeMemory:
    level = jnp.asarray(level, dtype)
    no = jnp.zeros((), bool)
    return ResumeMemory(level, level, jnp.ones((), jnp.int32), no)


def resume(
    memory: ResumeMemory, outcome: Outcome, level: jax.Array, collapsed: jax.Array
) -> ResumeMemory:
    """Goes on from ``level``, where the search stands, unless the batch was to blame.

    A failed search is resumed where it stopped: that is what finds the scale when the
    first guess was far off. But if the resumed search accepts its very first trial, the
    step was not too long for this batch, so the failure was the other batch's: back to
    the level before it. Only once, lest two levels alternate for ever; and not where
    several batches refused a level that never worked. A search from a level that did
    work, accepted only far below it (``collapsed``), counts as failed here: an exploded
    batch would else cost as many epochs as it takes to grow back.
    """
    searched = outcome.num_trials > 0
    collapsed = collapsed & (memory.credit == 2)
    failed = searched & (~outcome.accepted | collapsed)
    succeeded = searched & ~failed
    first_try = succeeded & (outcome.num_trials == 1)
    back = memory.failing & first_try & (memory.credit > 0)
    refused_again = failed & memory.failing & (memory.credit < 2)
    credit = jnp.where(succeeded, 2, jnp.where(refused_again, 0, memory.credit))
    return ResumeMemory(
        level=jnp.where(back, memory.earlier_level, level),
        earlier_level=jnp.where(memory.failing, memory.earlier_level, memory.level),
        credit=jnp.where(back, 0, credit),
        failing=jnp.where(searched, failed, memory.failing),
    )
