"""Gates: search this time, or take the proposed step untested?"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.robust import MOST
from optaxls.parts.types import Gate, Memory, Origin, Outcome, keep_memory, no_memory


def always() -> Gate:
    """Searches at every step.

    Returns:
      A gate for ``scale_by_line_search``.

    Cost:
      At least one loss evaluation per step.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.armijo(), optaxls.constant(1.0), gate=optaxls.always())
      >>> w = jnp.array([1.0])
      >>> _, state = tx.update(-w, tx.init(w), w, value=jnp.array(0.5), grad=w,
      ...                      value_fn=lambda w: 0.5 * jnp.sum(w**2))
      >>> print(state.num_trials)
      1

    Reference:
      Ours.
    """

    def should_search(memory: Memory, origin: Origin) -> jax.Array:
        del memory
        return jnp.ones_like(origin.value, bool)

    return Gate(no_memory, should_search, keep_memory)


class CountMemory(NamedTuple):
    """Steps made so far."""

    num_steps: jax.Array


def _count_init(params: Any) -> CountMemory:
    del params
    return CountMemory(jnp.zeros((), jnp.int32))


def _count(memory: CountMemory, origin: Origin, outcome: Outcome) -> CountMemory:
    del origin, outcome
    return CountMemory(trees.one_more(memory.num_steps))


class FirstMemory(NamedTuple):
    """Searches that succeeded, and those that have failed in a row."""

    num_steps: jax.Array
    num_failed: jax.Array


# So many searches that fail in a row say that the loss cannot be searched.
_HOPELESS = 10


def first(n: int) -> Gate:
    """Searches in the first ``n`` steps only, then trusts the proposal.

    A step that cannot be searched, without a slope or with a batch that is not finite,
    does not count, nor does a search that found nothing: a proposal is to be trusted.
    But ten searches in a row that found nothing are the last: of a loss such as
    ``l - stop_gradient(l)``, which is 0 wherever it is evaluated, no search can tell
    more, and each costs its whole budget.

    Args:
      n: number of steps, >= 1.

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``num_steps``: those whose search succeeded; ``num_failed``: searches that have
      failed in a row; int32.

    Raises:
      ValueError: ``n`` lies outside its range.

    Cost:
      No loss evaluation after the first ``n`` steps, or after ten failed searches.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.armijo(), optaxls.constant(1.0), gate=optaxls.first(1))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(2):
      ...     _, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                          value_fn=lambda w: 0.5 * jnp.sum(w**2))
      ...     print(state.num_trials)
      1
      0

    Reference:
      Ours.
    """
    checks.require_integer("n", n, 1)

    def init(params: Any) -> FirstMemory:
        del params
        none = jnp.zeros((), jnp.int32)
        return FirstMemory(none, none)

    def should_search(memory: FirstMemory, origin: Origin) -> jax.Array:
        del origin
        return (memory.num_steps < n) & (memory.num_failed < _HOPELESS)

    def commit(memory: FirstMemory, origin: Origin, outcome: Outcome) -> FirstMemory:
        del origin
        searched, (steps, failed) = outcome.num_trials > 0, memory
        found = searched & outcome.accepted
        in_a_row = jnp.where(found, 0, trees.one_more(failed))
        return FirstMemory(
            jnp.where(found, trees.one_more(steps), steps),
            jnp.where(searched, in_a_row, failed),
        )

    return Gate(init, should_search, commit)


def every(n: int) -> Gate:
    """Searches at steps 0, n, 2n, ...; in between takes the proposal.

    Args:
      n: period in steps, >= 1.

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``num_steps``, int32.

    Raises:
      ValueError: ``n`` lies outside its range.

    Cost:
      Loss evaluations at every ``n``-th step only.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.armijo(), optaxls.constant(1.0), gate=optaxls.every(2))
      >>> w = jnp.array([1.0])
      >>> state = tx.init(w)
      >>> for _ in range(3):
      ...     _, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                          value_fn=lambda w: 0.5 * jnp.sum(w**2))
      ...     print(state.num_trials)
      1
      0
      1

    Reference:
      Galli, Rauhut, Schmidt 2023, arXiv:2306.12747, code option ``sls_every``.
    """
    checks.require_integer("n", n, 1)

    def should_search(memory: CountMemory, origin: Origin) -> jax.Array:
        del origin
        return memory.num_steps % n == 0

    return Gate(_count_init, should_search, _count)


class UnsteadyMemory(NamedTuple):
    """Searched step sizes: two running means, the last; and the steps since."""

    slow_step: jax.Array
    fast_step: jax.Array
    last_step: jax.Array
    steps_since_search: jax.Array
    num_steps: jax.Array


def when_unsteady(
    max_period: int = 10,
    warmup: int = 9,
    slow_decay: float = 0.99,
    fast_decay: float = 0.9,
) -> Gate:
    r"""Searches often while the step size moves, rarely while it rests.

    With running means :math:`a` (``fast_decay``) and :math:`b` (``slow_decay``) of the
    searched step sizes and :math:`r = \max(a/b, b/a)`, a search is made every
    :math:`\min(P, 1/(r - 1))` steps (:math:`P`: ``max_period``), and at each of the
    first ``warmup`` steps.

    Args:
      max_period: longest pause between searches, in steps, >= 1.
      warmup: number of first steps that are all searched, >= 0.
      slow_decay: weight of the past, in [0, 1).
      fast_decay: weight of the past, in [0, 1).

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``slow_step``, ``fast_step``: scalars; ``steps_since_search``, ``num_steps``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Loss evaluations at every ``max_period``-th step once the step size is steady.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_line_search(
      ...     optaxls.armijo(), optaxls.constant(1.0), gate=optaxls.when_unsteady())
      >>> w = jnp.array([1.0])
      >>> def step(state, _):
      ...     _, state = tx.update(-w, state, w, value=jnp.array(0.5), grad=w,
      ...                          value_fn=lambda w: 0.5 * jnp.sum(w**2))
      ...     return state, state.num_trials
      >>> _, trials = jax.lax.scan(step, tx.init(w), length=1000)
      >>> print(trials[:20].sum(), trials[-20:].sum())     # moving, steady
      20 2

    Reference:
      Kenneweg et al., SaLSA, 2024, arXiv:2407.20650, section on reduced frequency.
    """
    checks.require_integer("max_period", max_period, 1)
    checks.require_integer("warmup", warmup, 0)
    checks.require("slow_decay", slow_decay, "[0, 1)")
    checks.require("fast_decay", fast_decay, "[0, 1)")

    def init(params: Any) -> UnsteadyMemory:
        tiny = jnp.asarray(1e-8, trees.scalar_dtype(params))
        never = jnp.asarray(max_period, jnp.int32)
        return UnsteadyMemory(tiny, tiny, tiny, never, jnp.zeros((), jnp.int32))

    def should_search(memory: UnsteadyMemory, origin: Origin) -> jax.Array:
        del origin
        ratio = memory.fast_step / memory.slow_step
        ratio = jnp.maximum(ratio, 1 / ratio)
        period = jnp.minimum(1 / (ratio - 1 + 1e-8), max_period)
        due = memory.steps_since_search + 1 >= period
        # A step more than tenfold off the typical one: two means that one batch moved
        # alike do not show it.
        due |= jnp.abs(jnp.log(memory.last_step / memory.fast_step)) > jnp.log(MOST)
        return (memory.num_steps < warmup) | due

    def commit(
        memory: UnsteadyMemory, origin: Origin, outcome: Outcome
    ) -> UnsteadyMemory:
        searched = outcome.num_trials > 0
        step_size = outcome.end_step

        def mean(old: jax.Array, decay: Any) -> jax.Array:
            new = decay * old + (1 - decay) * step_size
            return jnp.where(searched, new, old)

        pause = jnp.minimum(memory.steps_since_search + 1, max_period)
        return UnsteadyMemory(
            mean(memory.slow_step, slow_decay),
            mean(memory.fast_step, fast_decay),
            jnp.where(searched, step_size, memory.last_step),
            jnp.where(searched, 0, pause),
            _count(CountMemory(memory.num_steps), origin, outcome).num_steps,
        )

    return Gate(init, should_search, commit)
