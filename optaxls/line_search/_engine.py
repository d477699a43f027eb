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

from optaxls import _checks
from optaxls._types import Outcome, Problem, Search, Trial, Verdict


class _Progress(NamedTuple):
    """Where a search stands. ``held``: the last trial that was not too long."""

    next_step: jax.Array
    held_step: jax.Array
    held_value: jax.Array
    holds: jax.Array
    last_value: jax.Array
    num_trials: jax.Array
    done: jax.Array


_Advance = Callable[[_Progress], _Progress]


def _while(condition: Callable, body: Callable, carry: Any) -> Any:
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


def _repeat(
    advance: _Advance,
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
    start = _Progress(
        next_step=first_step,
        held_step=jnp.zeros_like(first_step),
        held_value=value,
        holds=no,
        last_value=value,
        num_trials=no.astype(jnp.int32),
        done=~enabled,
    )
    end = _while(
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


def _one_at_a_time(next_step: Callable, max_trials: int) -> Search:
    """A search that makes one trial a round.

    ``next_step(progress, trial, verdict, problem) -> (step_size, done)``, where
    ``progress`` is from before the trial.
    """

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Outcome:
        def advance(progress: _Progress) -> _Progress:
            trial = problem.probe(progress.next_step)
            verdict = problem.judge(trial)
            fits = verdict.too_long <= 0
            step_size, done = next_step(progress, trial, verdict, problem)
            return _Progress(
                next_step=jnp.asarray(step_size, trial.step_size.dtype),
                held_step=jnp.where(fits, trial.step_size, progress.held_step),
                held_value=jnp.where(fits, trial.value, progress.held_value),
                holds=progress.holds | fits,
                last_value=trial.value,
                num_trials=progress.num_trials + 1,
                done=done,
            )

        return _repeat(advance, problem, first_step, enabled, max_trials)

    return search


def _shrink_or_grow(shrink: Callable, increase_factor: Any, max_step_size: Any):
    """Too long: shrink. Too short and able to grow: grow. Else the trial is taken."""

    def next_step(progress, trial, verdict, problem):
        del progress
        longer = jnp.minimum(trial.step_size * increase_factor, max_step_size)
        too_long = verdict.too_long > 0
        too_short = (verdict.too_short > 0) & (longer > trial.step_size)
        shorter = shrink(trial, verdict, problem)
        return jnp.where(too_long, shorter, longer), ~too_long & ~too_short

    return next_step


def _check_backtracking(
    decrease_factor: Any, increase_factor: Any, max_trials: Any, max_step_size: Any
) -> None:
    _checks.require("decrease_factor", decrease_factor, "(0, 1)")
    _checks.require("increase_factor", increase_factor, "[1, inf)")
    _checks.require_integer("max_trials", max_trials, 1)
    _checks.require("max_step_size", max_step_size, "(0, inf]")


def backtracking(
    decrease_factor: float = 0.9,
    increase_factor: float = 1.0,
    max_trials: int = 100,
    max_step_size: float = float("inf"),
) -> Search:
    r"""Shrinks a step that is too long, grows one that is too short.

    :math:`\eta \leftarrow \beta\eta` (``decrease_factor``) after a trial that is too
    long, :math:`\eta \leftarrow \min(\alpha\eta, \eta_{\max})` (``increase_factor``,
    ``max_step_size``) after one that is too short, until the condition holds.

    Args:
      decrease_factor: dimensionless, in (0, 1); 0.9 as in Vaswani et al. 2019.
      increase_factor: dimensionless, >= 1; 1 never grows. Needed by ``goldstein``.
      max_trials: budget of loss evaluations, >= 1.
      max_step_size: growth stops here, and a trial here is never too short.

    Returns:
      A search for ``scale_by_line_search``. Where the budget ends between too long and
      too short, the last trial that was not too long is taken.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial, at most ``max_trials``; no copy of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # f = 2 w^2: Armijo holds up to 2 (1 - c) / 4
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(1.0),
      ...     search=optaxls.backtracking(0.5))
      >>> print(result.params, result.num_trials)
      [0.] 3

    Reference:
      Armijo 1966; Vaswani et al., Painless Stochastic Gradient, 2019,
      arXiv:1905.09997, Algorithm 1 (and 2 for the growing form).
    """
    _check_backtracking(decrease_factor, increase_factor, max_trials, max_step_size)

    def shrink(trial, verdict, problem):
        del verdict, problem
        return trial.step_size * decrease_factor

    rule = _shrink_or_grow(shrink, increase_factor, max_step_size)
    return _one_at_a_time(rule, max_trials)


def adaptive_backtracking(
    decrease_factor: float = 0.9,
    increase_factor: float = 1.0,
    max_trials: int = 100,
    max_step_size: float = float("inf"),
    min_factor: float = 0.01,
) -> Search:
    r"""Backtracking whose shrink factor follows from how much the trial misses.

    The condition's excess is fitted by the parabola :math:`t_0 + a\alpha + q\alpha^2`
    in the fraction :math:`\alpha` of the rejected step: :math:`t_0` is the excess at no
    step, :math:`t_0 + a` that of the linear model, :math:`t_0 + a + q` the measured
    one. With :math:`\alpha` its positive root the step is multiplied by
    :math:`\max(\epsilon, \rho\alpha)` (``min_factor``, ``decrease_factor``). On a
    quadratic loss this lands at :math:`\rho` times the longest acceptable step at once.
    A trial without a finite loss shrinks by :math:`\rho`.

    Args:
      decrease_factor: rho, dimensionless, in (0, 1).
      increase_factor: as in ``backtracking``.
      max_trials: budget of loss evaluations, >= 1.
      max_step_size: as in ``backtracking``.
      min_factor: epsilon, the strongest shrink of one round, in (0, 1).

    Returns:
      A search for ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial, usually fewer trials than ``backtracking``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> result = optaxls.line_search(   # longest acceptable step: 0.25
      ...     lambda w: 2 * jnp.sum(w**2), w, -4 * w, value=jnp.array(2.0), grad=4 * w,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(10.0),
      ...     search=optaxls.adaptive_backtracking(0.9))
      >>> print(f"{result.step_size:.3f} {result.num_trials}")
      0.225 2

    Reference:
      Cavalcanti, Lessard, Wilson, Adaptive Backtracking Line Search, 2024,
      arXiv:2408.13150. For monotone Armijo the root is their
      (1 - c) / (1 - c v); the parabola extends it to any reference value.
    """
    _check_backtracking(decrease_factor, increase_factor, max_trials, max_step_size)
    _checks.require("min_factor", min_factor, "(0, 1)")

    def shrink(trial: Trial, verdict: Verdict, problem: Problem):
        value = problem.origin.value
        zero = jnp.zeros_like(value)
        none = problem.judge(Trial(zero, value, zero, zero)).too_long
        linear = problem.judge(trial._replace(value=value + trial.linear_change))
        tilt = linear.too_long - none
        bend = verdict.too_long - linear.too_long
        root = (-tilt + jnp.sqrt(jnp.maximum(tilt**2 - 4 * bend * none, 0))) / (
            2 * bend
        )
        factor = jnp.where(jnp.isfinite(root) & (bend > 0), root, 1.0)
        factor = decrease_factor * jnp.clip(factor, 0, 1)
        return trial.step_size * jnp.maximum(factor, min_factor)

    rule = _shrink_or_grow(shrink, increase_factor, max_step_size)
    return _one_at_a_time(rule, max_trials)


def bracketing(factor: float = 2.0, max_trials: int = 100) -> Search:
    r"""Grows or shrinks to the largest accepted step of the grid ``first * factor**k``.

    While trials are not too long the step is multiplied by ``factor``, and the last
    one that held is kept; a first trial that is too long is divided by ``factor``
    until one holds.

    Args:
      factor: dimensionless, > 1.
      max_trials: budget of loss evaluations, >= 1.

    Returns:
      A search for ``scale_by_line_search``. It ignores ``too_short``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One loss evaluation per trial; at least two where the first one holds.

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
    _checks.require("factor", factor, "(1, inf)")
    _checks.require_integer("max_trials", max_trials, 1)

    def next_step(progress, trial, verdict, problem):
        del problem
        fits = verdict.too_long <= 0
        shrinking = (progress.num_trials > 0) & ~progress.holds
        longer = trial.step_size * factor
        done = jnp.where(fits, shrinking | ~jnp.isfinite(longer), progress.holds)
        return jnp.where(fits, longer, trial.step_size / factor), done

    return _one_at_a_time(next_step, max_trials)


def parallel_candidates(
    num_candidates: int = 16, decrease_factor: float = 0.9, max_trials: int = 100
) -> Search:
    r"""Backtracking that tries ``num_candidates`` steps at once, taking the first.

    Each round of the loop evaluates :math:`\eta, \beta\eta, \dots, \beta^{K-1}\eta`
    with ``vmap`` and takes the first that is not too long; a round without one goes on
    from :math:`\beta^K\eta`. The step and ``num_trials`` are those of
    ``backtracking(decrease_factor, max_trials=max_trials)``.

    Args:
      num_candidates: K, >= 1.
      decrease_factor: beta, dimensionless, in (0, 1).
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
      Ours; the accepted step is that of Armijo backtracking.
    """
    _checks.require_integer("num_candidates", num_candidates, 1)
    _checks.require("decrease_factor", decrease_factor, "(0, 1)")
    _checks.require_integer("max_trials", max_trials, 1)

    def search(problem: Problem, first_step: jax.Array, enabled: jax.Array) -> Outcome:
        def advance(progress: _Progress) -> _Progress:
            # Repeated products, not powers: bit for bit the sequential step sizes.
            steps = [progress.next_step]
            for _ in range(num_candidates):
                steps.append(steps[-1] * decrease_factor)
            candidates = jnp.stack(steps[:-1])
            trials = jax.vmap(problem.probe)(candidates)
            verdicts = jax.vmap(problem.judge)(trials)
            budget = max_trials - progress.num_trials
            rank = jnp.arange(1, num_candidates + 1)
            fits = (verdicts.too_long <= 0) & (rank <= budget)
            found = jnp.any(fits)
            spent = jnp.minimum(num_candidates, budget)
            first = jnp.where(found, jnp.argmax(fits), spent - 1)
            reached = jnp.stack(steps[1:])[first]
            return _Progress(
                next_step=reached,
                held_step=jnp.where(found, candidates[first], progress.held_step),
                held_value=jnp.where(found, trials.value[first], progress.held_value),
                holds=found,
                last_value=trials.value[first],
                num_trials=progress.num_trials + first.astype(jnp.int32) + 1,
                done=found,
            )

        return _repeat(advance, problem, first_step, enabled, max_trials)

    return search
