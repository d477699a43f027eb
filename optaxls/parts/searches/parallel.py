"""Backtracking that tries several steps at once."""

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.parts.searches._loop import Progress, repeat, taken
from optaxls.parts.types import Found, Problem, Search


def parallel_candidates(
    num_candidates: int = 16, decrease_factor: float = 0.9, max_trials: int = 100
) -> Search:
    r"""Backtracking that tries ``num_candidates`` steps at once, taking the first.

    Each round of the loop evaluates :math:`\eta, \beta\eta, \dots, \beta^{K-1}\eta`
    with ``vmap`` and takes the first that is not too long; a round without one goes on
    from :math:`\beta^K\eta`. The step and ``num_trials`` are those of
    ``backtracking(decrease_factor, max_trials=max_trials)``.

    Args:
      num_candidates: K, the number of step sizes tried at once, >= 1.
      decrease_factor: beta, ratio of neighbouring step sizes, dimensionless, in (0, 1).
      max_trials: budget in sequential trials, >= 1.

    Returns:
      A search for ``scale_by_line_search``. It only shrinks: ``too_short`` is ignored.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      ``num_candidates`` loss evaluations a round and as many copies of the
      activations and params; pays where an accelerator has idle lanes, not on a CPU.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(1.0),
      ...     search=optaxls.parallel_candidates(8, 0.5))
      >>> print(result.params, result.num_trials)
      [0.] 3

    Reference:
      No publication; defined here. The accepted step is that of Armijo backtracking.
    """
    checks.require_integer("num_candidates", num_candidates, 1)
    checks.require("decrease_factor", decrease_factor, "(0, 1)")
    checks.require_integer("max_trials", max_trials, 1)

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Found:
        def advance(progress: Progress) -> Progress:
            # Repeated products, not powers: bit for bit the sequential step sizes.
            steps = [progress.next_step]
            for _ in range(num_candidates):
                steps.append(steps[-1] * decrease_factor)
            trials = jax.vmap(problem.probe)(jnp.stack(steps[:-1]))
            verdicts = jax.vmap(problem.judge)(trials)
            # After the budget is spent only the fallback step is tried.
            spent = progress.num_trials >= max_trials
            budget = jnp.maximum(max_trials - progress.num_trials, 1)
            rank = jnp.arange(1, num_candidates + 1)
            fits = taken(problem, trials, verdicts, spent) & (rank <= budget)
            found = jnp.any(fits)
            last = jnp.minimum(num_candidates, budget) - 1
            first = jnp.where(found, jnp.argmax(fits), last)
            holds = found | spent

            def pick(leaf: jax.Array) -> jax.Array:
                # A sum, as JAX refuses to index arrays sharded over explicit axes.
                chosen = rank == first + 1
                if leaf.ndim > 1:
                    chosen = jnp.expand_dims(chosen, tuple(range(1, leaf.ndim)))
                return jnp.sum(jnp.where(chosen, leaf, 0), axis=0)

            step_size, value = pick(trials.step_size), pick(trials.value)
            return progress._replace(
                next_step=pick(jnp.stack(steps[1:])),
                held_step=jnp.where(holds, step_size, progress.held_step),
                held_value=jnp.where(holds, value, progress.held_value),
                held_grad=trees.select(
                    holds, jax.tree.map(pick, trials.grad), progress.held_grad
                ),
                holds=found,
                num_trials=progress.num_trials + first.astype(jnp.int32) + 1,
                done=found,
            )

        return repeat(advance, problem, first_step, enabled, max_trials)

    return search
