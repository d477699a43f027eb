"""What an initial step remembers after a failed search, and when it goes back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.parts.types import Outcome

# A step below this share of the last one counts as collapsed. That may be the fault
# of one batch, so that a second batch has to confirm it.
COLLAPSE = 0.01


class ResumeMemory(NamedTuple):
    """Where the next search starts, and where searches started before they failed.

    ``start`` is the number that the next proposal is made from: a step size for
    ``grow``, a number of backtracks for ``polyak``. ``earlier_start`` is what ``start``
    was before the first of the searches that failed in a row. ``failing`` says whether
    the last search failed.

    ``trust`` says whether it is worth going back to ``earlier_start``. It is 2 once
    a search has succeeded. It is 1 before that, until a second search in a row fails.
    It is 0 after that failure, and after going back.
    """

    start: jax.Array
    earlier_start: jax.Array
    trust: jax.Array
    failing: jax.Array


def new_memory(start: Any, dtype: Any) -> ResumeMemory:
    """The memory before the first search, which starts from ``start``."""
    start = jnp.asarray(start, dtype)
    no = jnp.zeros((), bool)
    return ResumeMemory(start, start, jnp.ones((), jnp.int32), no)


def resume(
    memory: ResumeMemory, outcome: Outcome, start: jax.Array, collapsed: jax.Array
) -> ResumeMemory:
    """The memory after a search, whose end is ``start`` unless one batch was to blame.

    After a failed search the next one starts where it stopped. So the searches find the
    scale of the step size even if the first guess was far off. If the next search then
    accepts its first trial, the step was not too long for its batch. So the failure was
    due to the other batch, and the search after that starts from ``earlier_start``.

    It goes back only once, since otherwise two starts could alternate for ever. It does
    not go back to a start that several batches refused and from which no search ever
    succeeded.

    ``collapsed`` says that the accepted step is far shorter than the last one. After an
    earlier success, such a search counts as failed. Otherwise one exploded batch would
    cost as many epochs as the step size takes to grow back.
    """
    searched = outcome.num_trials > 0
    collapsed = collapsed & (memory.trust == 2)
    failed = searched & (~outcome.accepted | collapsed)
    succeeded = searched & ~failed
    first_try = succeeded & (outcome.num_trials == 1)
    back = memory.failing & first_try & (memory.trust > 0)
    refused_again = failed & memory.failing & (memory.trust < 2)
    trust = jnp.where(succeeded, 2, jnp.where(refused_again, 0, memory.trust))
    return ResumeMemory(
        start=jnp.where(back, memory.earlier_start, start),
        earlier_start=jnp.where(memory.failing, memory.earlier_start, memory.start),
        trust=jnp.where(back, 0, trust),
        failing=jnp.where(searched, failed, memory.failing),
    )
