"""Nesterov's extrapolation behind a searched step, with restarts."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import hold_integers
from optaxls._core.reports import find_reports
from optaxls.parts.types import Params, Proximal
from optaxls.transforms.proximal._domain import into_domain


class ExtrapolatedState(NamedTuple):
    """The state of the search from y, and the sequence w, which is to be evaluated.

    ``momentum_step`` is t, which gives the weight of the momentum. ``num_restarts`` and
    ``num_non_finite``, the batches in a row without a finite loss, are int32.
    """

    step_rule: Any
    eval_params: Params
    momentum_step: jax.Array
    num_restarts: jax.Array
    num_non_finite: jax.Array


class _Move(NamedTuple):
    """The updates of y, the next w and t, and whether momentum began anew."""

    updates: Params
    ahead: Params
    momentum_step: jax.Array
    restarted: jax.Array


def _moved(params: Params, state: ExtrapolatedState, step: Params) -> _Move:
    """After a step from y to w+: y+ = w+ + ((t - 1) / t+) (w+ - w)."""
    ahead = optax.apply_updates(params, step)
    forward = trees.difference(ahead, state.eval_params)
    # <y - w+, w+ - w> > 0: the step from y goes back against the momentum.
    t = state.momentum_step
    uphill = trees.inner(trees.conj(step), forward, t.dtype) < 0
    following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
    weight = jnp.where(uphill, 0, (t - 1) / following)
    updates = trees.add_scaled(step, weight, forward, where=weight > 0)
    return _Move(updates, ahead, jnp.where(uphill, 1, following), uphill)


def extrapolated(
    step_rule: optax.GradientTransformation, prox: Proximal
) -> optax.GradientTransformationExtraArgs:
    """Searches from an extrapolated y, and trains that; w is ``eval_params``.

    Where no step is made from y, which has left w behind, y goes back to w. After a
    batch without a finite loss it does so if the next one has none either.
    """
    rule = optax.with_extra_args_support(step_rule)

    def init(params: Params) -> ExtrapolatedState:
        none, one = jnp.zeros((), jnp.int32), jnp.ones((), trees.scalar_dtype(params))
        rest = trees.fresh((params, one, none, none))
        return ExtrapolatedState(rule.init(params), *rest)

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, ExtrapolatedState]:
        step, inner = rule.update(updates, state.step_rule, params, **extra)
        report = find_reports(inner)[-1]
        finite = jnp.isfinite(report.value) & jnp.isfinite(report.slope)
        failures = jnp.where(finite, 0, trees.one_more(state.num_non_finite))
        move = _moved(params, state, step)
        takes = report.step_size > 0
        # From outside of the set the step is the projection, and nothing is known yet.
        enters = ~takes & (trees.sqnorm(step, report.value.dtype) > 0)
        back = hold_integers(trees.difference(state.eval_params, params), params)
        back = trees.zero_unless(finite | (failures > 1), back)
        following = trees.select(enters, step, trees.cast_like(back, step))
        following = trees.select(takes, move.updates, following)
        new = ExtrapolatedState(
            inner,
            trees.select(takes | enters, move.ahead, state.eval_params),
            jnp.where(takes, move.momentum_step, jnp.where(finite, 1, state[2])),
            state.num_restarts + (takes & move.restarted),
            failures,
        )
        return into_domain(prox, params, following), trees.cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)
