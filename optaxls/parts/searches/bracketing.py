"""The search for the longest accepted step."""

import jax.numpy as jnp

from optaxls._core import checks
from optaxls.parts.searches._loop import one_at_a_time
from optaxls.parts.types import Search


def bracketing(factor: float = 2.0, max_trials: int = 100) -> Search:
    r"""Grows or shrinks to the largest accepted step of the grid ``first * factor**k``.

    While trials are not too long the step is multiplied by ``factor``, and the last of
    these trials is taken. If the first trial is too long, the step is divided
    by ``factor`` until a trial is not.

    Args:
      factor: ratio of neighbouring trial steps, dimensionless, > 1.
      max_trials: budget of loss evaluations, >= 1.

    Returns:
      A search for ``scale_by_line_search``. It ignores ``too_short``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial; at least two if the first one fits.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = w^2 / 2: Armijo holds up to 2 (1 - c)
      ...     lambda w: 0.5 * jnp.sum(w**2), w, -w, value=jnp.array(0.5), grad=w,
      ...     condition=optaxls.armijo(0.1), initial_step=optaxls.constant(0.25),
      ...     search=optaxls.bracketing(2.0))
      >>> print(result.step_size, result.num_trials)
      1.0 4

    Reference:
      Forward-backward tracking; Nocedal and Wright, Numerical Optimization, 2006,
      section 3.5.
    """
    checks.require("factor", factor, "(1, inf)")
    checks.require_integer("max_trials", max_trials, 1)

    def next_step(progress, trial, verdict, problem):
        del problem
        fits = verdict.too_long <= 0
        shrinking = (progress.num_trials > 0) & ~progress.holds
        longer = trial.step_size * factor
        done = jnp.where(fits, shrinking | ~jnp.isfinite(longer), progress.holds)
        return jnp.where(fits, longer, trial.step_size / factor), done

    return one_at_a_time(next_step, max_trials)
