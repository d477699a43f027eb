"""What a search may ask: evaluate a step size, judge a trial, fall back."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.custom_batching import custom_vmap

from optaxls._core import trees
from optaxls._core.loss import require_shared, rounding
from optaxls._engine.parts import Parts
from optaxls.parts.types import Memory, Origin, Problem, Trial, ValueFn, Verdict


def _rounding_where(undecided: jax.Array, *at: Any) -> jax.Array:
    """``rounding(*at)`` where ``undecided``, else 0 and no pass.

    ``vmap`` of a ``cond`` selects between its operands, which on a mesh with explicit
    axes is a type error where they are sharded. Members are told apart here instead.
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
    """The rounding error of the loss where it decides, else 0, which saves a pass.

    The error lies between 0 and |f|: an excess outside of that is decided without it.
    """

    def close(excess: Any) -> jax.Array:
        return (excess > 0) & (excess <= jnp.abs(origin.value))

    undecided = close(verdict.too_long) | close(verdict.too_short)
    return _rounding_where(
        undecided, origin.params, origin.grad, origin.value, origin.value_rounding
    )


def make_problem(
    value_fn: ValueFn, origin: Origin, parts: Parts, memory: Memory
) -> Problem:
    """The questions of a search from ``origin``; ``memory`` is the condition's."""
    # The last thing done to a direction is a change of sign. Undone here it cancels,
    # and made again inside the loop it is part of the trial's pass; else -grad would be
    # a second copy of the gradient, kept while the loop runs.
    reverse = trees.reverse(origin.direction)

    def probe(step_size: jax.Array) -> Trial:
        here = origin._replace(direction=trees.reverse_again(reverse, step_size))
        updates, linear_change, sqdistance = parts.path.displace(here, step_size)
        value = value_fn(optax.apply_updates(origin.params, updates))
        require_shared(value, origin.params, "what value_fn returns")
        value = value.astype(origin.value.dtype)
        return Trial(step_size, value, linear_change, sqdistance)

    def judge(trial: Trial) -> Verdict:
        verdict = parts.condition.judge(memory, origin, trial)
        usable = jnp.isfinite(trial.value) & ~jnp.isnan(verdict.too_long)
        forgiven = _forgiven(origin, verdict)
        too_short = verdict.too_short - forgiven
        return Verdict(
            jnp.where(usable, verdict.too_long - forgiven, jnp.inf),
            jnp.where(jnp.isnan(too_short), -jnp.inf, too_short),
        )

    return Problem(origin, probe, judge, parts.fallback_step)
