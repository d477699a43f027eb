"""Builds the two functions that a search calls: evaluate a step size, test a trial."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.custom_batching import custom_vmap

from optaxls._core import trees
from optaxls._core.arguments import hold_integers
from optaxls._core.loss import require_shared, rounding, value_and_grad
from optaxls._engine.parts import Parts
from optaxls.parts.types import (
    Memory,
    Origin,
    Params,
    Path,
    Problem,
    Trial,
    ValueFn,
    Verdict,
)


def _rounding_where(undecided: jax.Array, *at: Any) -> jax.Array:
    """Returns ``rounding(*at)`` if ``undecided``, else 0 without a pass over params.

    On a mesh with explicit axes, ``vmap`` of a ``cond`` is a type error for sharded
    operands, because it selects between them. So under ``vmap`` this function selects
    between the results instead.
    """
    if not isinstance(undecided, Tracer):
        return _rounding_or_none(undecided, *at)
    branched = custom_vmap(_rounding_or_none)

    @branched.def_vmap
    def members(size: int, batched: Any, *given: Any) -> tuple[jax.Array, bool]:
        def selected(undecided: jax.Array, *at: Any) -> jax.Array:
            return jnp.where(undecided, rounding(*at), 0)

        axes = jax.tree.map(lambda moves: 0 if moves else None, tuple(batched))
        return jax.vmap(selected, in_axes=axes, axis_size=size)(*given), True

    return branched(undecided, *at)


def _rounding_or_none(undecided: jax.Array, *at: Any) -> jax.Array:
    value = at[2]
    return trees.either(undecided, lambda: rounding(*at), lambda: jnp.zeros_like(value))


def _forgiven(origin: Origin, verdict: Verdict) -> jax.Array:
    """Returns the rounding error of the loss if it can change the verdict, else 0.

    The error is between 0 and |f|. An excess outside of that range is decided without
    it, which saves a pass over the params.
    """

    def close(excess: Any) -> jax.Array:
        return (excess > 0) & (excess <= jnp.abs(origin.value))

    undecided = close(verdict.too_long) | close(verdict.too_short)
    if not isinstance(verdict.overshoots, float):
        undecided |= close(verdict.overshoots)
    return _rounding_where(
        undecided, origin.params, origin.grad, origin.value, origin.value_rounding
    )


def _slope(path: Path, origin: Origin, step_size: jax.Array, grad: Params) -> jax.Array:
    """Returns the derivative of the loss with respect to the step size at a trial."""

    def moved(at: jax.Array) -> list[jax.Array]:
        return trees.inexact_leaves(path.displace(origin, at).updates)

    one = jnp.ones_like(step_size)
    _, tangent = jax.jvp(moved, (step_size,), (one,))
    slope = trees.inner(trees.inexact_leaves(grad), tangent, origin.value.dtype)
    prox = path.prox
    if prox is None or prox.is_set:
        return slope

    def penalty(at: jax.Array) -> jax.Array:
        updates = path.displace(origin, at).updates
        return prox.penalty(optax.apply_updates(origin.params, updates))

    _, bend = jax.jvp(penalty, (step_size,), (one,))
    return slope + bend.astype(slope.dtype)


def _usable(verdict: Verdict, trial: Trial, forgiven: jax.Array) -> Verdict:
    """Makes trials whose loss is not finite too long, and forgives rounding errors."""
    usable = jnp.isfinite(trial.value) & ~jnp.isnan(verdict.too_long)

    def forgive(excess: Any) -> jax.Array:
        less = excess - forgiven
        return jnp.where(jnp.isnan(less), -jnp.inf, less)

    overshoots = verdict.overshoots
    return Verdict(
        jnp.where(usable, verdict.too_long - forgiven, jnp.inf),
        forgive(verdict.too_short),
        # The number of a condition that does not look at it costs no operation.
        overshoots if isinstance(overshoots, float) else forgive(overshoots),
    )


def make_problem(
    value_fn: ValueFn, origin: Origin, parts: Parts, memory: Memory
) -> Problem:
    """Builds the problem of a search that starts at ``origin``.

    ``memory`` is what the condition remembers.
    """
    # A direction such as -grad ends with a change of sign. Reversing it here cancels
    # that sign, and reversing it again inside the loop costs no extra pass. Otherwise
    # XLA would store -grad beside grad, a second copy, while the loop runs.
    reverse = trees.reverse(origin.direction)

    def probe(step_size: jax.Array) -> Trial:
        here = origin._replace(direction=trees.reverse_again(reverse, step_size))
        updates, linear_change, sqdistance = parts.path.displace(here, step_size)
        at = optax.apply_updates(origin.params, updates)
        if parts.condition.needs_slope:
            value, grad = value_and_grad(value_fn, at, False)
            slope = _slope(parts.path, here, step_size, grad)
        else:
            value, grad, slope = value_fn(at), (), None
        require_shared(value, origin.params, "what value_fn returns")
        if parts.path.prox is not None:
            value = value + parts.path.prox.penalty(at).astype(value.dtype)
        value = value.astype(origin.value.dtype)
        return Trial(step_size, value, linear_change, sqdistance, slope, grad)

    def judge(trial: Trial) -> Verdict:
        verdict = parts.condition.judge(memory, origin, trial)
        verdict = verdict if isinstance(verdict, Verdict) else Verdict(verdict)
        if jnp.issubdtype(jnp.result_type(verdict.too_long), jnp.bool_):
            raise TypeError(
                "a condition must return numbers in loss units, at most 0 where it is "
                "satisfied, got a bool"
            )
        return _usable(verdict, trial, _forgiven(origin, verdict))

    problem = Problem(origin, probe, judge, parts.fallback_step)
    if not parts.condition.needs_slope:
        return problem
    return problem._replace(grad=hold_integers(origin.grad, origin.params))
