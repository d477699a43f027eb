"""Gates decide whether a step is searched or the proposal is taken untested."""

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
      No publication; defined here.
    """

    def should_search(memory: Memory, origin: Origin) -> jax.Array:
        del memory
        return jnp.ones_like(origin.value, bool)

    return Gate(no_memory, should_search, keep_memory)


class CountMemory(NamedTuple):
    """The number of steps made so far, int32."""

    num_steps: jax.Array


def _count_init(params: Any) -> CountMemory:
    """No step is made yet."""
    del params
    return CountMemory(jnp.zeros((), jnp.int32))


def _count(memory: CountMemory, origin: Origin, outcome: Outcome) -> CountMemory:
    """The memory after one more step, whether it was searched or not."""
    del origin, outcome
    return CountMemory(trees.one_more(memory.num_steps))


class FirstMemory(NamedTuple):
    """The number of searches that succeeded, and of those that failed since, int32."""

    num_steps: jax.Array
    num_failed: jax.Array


# After this many failures in a row ``first`` gives up: each search of such a loss
# would cost all of its trials and find nothing.
_MOST_FAILURES = 10


def first(n: int) -> Gate:
    """Searches until ``n`` searches have succeeded, then takes the proposals untested.

    Only a search that succeeded counts as one of the ``n`` steps, since proposals
    should start from a tested step size. So a failed search does not count. Nor does a
    step that cannot be searched, because the loss does not fall along the direction or
    is not finite.

    After ten failed searches in a row no more are made. For some losses no search can
    succeed, such as ``l - stop_gradient(l)``, which is 0 wherever it is evaluated. Each
    search of it would cost all of its trials.

    Args:
      n: number of searches that have to succeed, >= 1.

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``num_steps``: the number of steps whose search succeeded; ``num_failed``: the
      number of searches that failed since the last success; int32.

    Raises:
      ValueError: ``n`` lies outside its range.

    Cost:
      No loss evaluation after ``n`` successful searches, or after ten failed in a row.

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
      No publication; defined here.
    """
    checks.require_integer("n", n, 1)

    def init(params: Any) -> FirstMemory:
        del params
        none = jnp.zeros((), jnp.int32)
        return FirstMemory(none, none)

    def should_search(memory: FirstMemory, origin: Origin) -> jax.Array:
        del origin
        return (memory.num_steps < n) & (memory.num_failed < _MOST_FAILURES)

    def commit(memory: FirstMemory, origin: Origin, outcome: Outcome) -> FirstMemory:
        del origin
        searched, (steps, failed) = outcome.num_trials > 0, memory
        succeeded = searched & outcome.accepted
        in_a_row = jnp.where(succeeded, 0, trees.one_more(failed))
        return FirstMemory(
            jnp.where(succeeded, trees.one_more(steps), steps),
            jnp.where(searched, in_a_row, failed),
        )

    return Gate(init, should_search, commit)


def every(n: int) -> Gate:
    """Searches at steps 0, n, 2n, ...; in between takes the proposals untested.

    Args:
      n: period in steps, >= 1.

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``num_steps``: the number of steps made, int32.

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
    """Means of the searched step sizes, and how long ago the last search was.

    ``slow_step``, ``fast_step``: running means with a long and a short memory.
    ``last_step``: the step size of the last search. ``steps_since_search``: steps since
    then, at most the longest pause. ``num_steps``: the number of steps made.
    """

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
    r"""Searches often while the step size changes, and rarely once it is steady.

    With running means :math:`a` (``fast_decay``) and :math:`b` (``slow_decay``) of the
    searched step sizes and :math:`r = \max(a/b, b/a)`, a search is made every
    :math:`\min(P, 1/(r - 1))` steps (:math:`P`: ``max_period``), and at each of the
    first ``warmup`` steps.

    Args:
      max_period: longest pause between searches, in steps, >= 1.
      warmup: number of first steps that are all searched, >= 0.
      slow_decay: weight of the past in the slow mean, in [0, 1).
      fast_decay: weight of the past in the fast mean, in [0, 1).

    Returns:
      A gate for ``scale_by_line_search``.

    State:
      ``slow_step``, ``fast_step``: running means of the step size, scalars;
      ``last_step``: that of the last search, scalar; ``steps_since_search`` and
      ``num_steps``: numbers of steps, int32.

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
        # Positive, since the means are divided by each other.
        tiny = jnp.asarray(1e-8, trees.scalar_dtype(params))
        never = jnp.asarray(max_period, jnp.int32)
        return UnsteadyMemory(tiny, tiny, tiny, never, jnp.zeros((), jnp.int32))

    def should_search(memory: UnsteadyMemory, origin: Origin) -> jax.Array:
        del origin
        ratio = memory.fast_step / memory.slow_step
        ratio = jnp.maximum(ratio, 1 / ratio)
        period = jnp.minimum(1 / (ratio - 1 + 1e-8), max_period)
        due = memory.steps_since_search + 1 >= period
        # One batch can move both means alike, so that their ratio does not show a
        # collapsed step. So a search is also due after a step ten times off the mean.
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
