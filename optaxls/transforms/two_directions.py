"""A step size that is found along one direction and multiplies another."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from optaxls._core.arguments import (
    ascent_direction,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.reports import find_reports
from optaxls._engine.step import Applied, Choose
from optaxls.directions.pairs import DirectionPair, Directions, with_momentum
from optaxls.parts.types import Outcome, Params


class TwoDirectionsState(NamedTuple):
    """The state of the pair of directions, and that of the step-size rule."""

    pair: Any
    step_rule: Any

    @property
    def moved_by(self) -> Any:
        """The state of what moved the params: nothing is added to its updates."""
        return self.step_rule


def _choose(applied: Callable[..., Any], directions: Directions) -> Choose | None:
    """What the engine calls after the search; None if there is one direction only."""
    if directions.applied is directions.searched:
        return None
    return Choose(
        lambda outcome: Applied(*applied(directions, outcome)),
        directions.usable,
        directions.goes_on,
    )


def two_directions(
    pair: DirectionPair,
    step_rule: optax.GradientTransformation,
    *,
    applied: Callable[
        [Directions, Outcome], tuple[Params, jax.Array | bool]
    ] = with_momentum,
    name: str = "two_directions",
) -> optax.GradientTransformationExtraArgs:
    r"""Finds a step size along one direction, and applies it along another.

    ``step_rule`` finds :math:`\eta` along the first direction :math:`d`. The update is
    the displacement of size :math:`\eta` on the same path along the second direction.

    Args:
      pair: what makes the two directions from the gradient. After the step, its
        ``tell`` gets the displacement and the report.
      step_rule: ``scale_by_line_search(...)`` or ``scale_by_initial_step(...)``, also
        in an ``optax.chain``.
      applied: ``(directions, outcome) -> (direction, tested)``: what is applied, and
        whether it was tested. ``outcome`` tells the step size found and the number of
        trials. ``with_momentum``, ``as_searched`` or a function of your own.
      name: the optimizer that error messages name.

    Returns:
      A transformation of gradients: no ``optax.scale(-1.0)`` comes before it.
      ``update`` needs ``params``, ``value``, ``grad`` and what ``step_rule`` needs.

    State:
      ``pair`` and ``step_rule``, the states of both. In the latter ``trial_value`` is
      NaN where the step taken was not tested.

    Raises:
      TypeError: ``step_rule`` holds no step-size rule of this package (from ``init``),
      or an argument of ``update`` is missing.

    Cost:
      It is that of ``step_rule`` and of the pair.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> halved = optaxls.DirectionPair(
      ...     init=lambda params: (),
      ...     update=lambda grads, state, params, **extra: (
      ...         optaxls.Directions(-grads, -0.5 * grads), state))
      >>> tx = optaxls.two_directions(halved, optaxls.scale_by_line_search(
      ...     optaxls.armijo(0.5), optaxls.constant(1.0)))
      >>> w = jnp.array([2.0])
      >>> updates, state = tx.update(w, tx.init(w), w, value=jnp.array(2.0), grad=w,
      ...                            value_fn=lambda w: 0.5 * jnp.sum(w**2))
      >>> print(optax.apply_updates(w, updates), state.step_rule.step_size)
      [1.] 1.0

    Reference:
      The pattern of Vaswani et al. 2020, arXiv:2006.06835, section 5: searched without
      momentum, applied with it.
    """
    rule = optax.with_extra_args_support(step_rule)

    def init(params: Params) -> TwoDirectionsState:
        state = TwoDirectionsState(pair.init(params), rule.init(params))
        if not find_reports(state.step_rule):
            raise TypeError(
                f"{name}: step_rule must hold scale_by_line_search(...) or "
                f"scale_by_initial_step(...), got the state {state.step_rule!r}"
            )
        return state

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        **extra: Any,
    ) -> tuple[Params, TwoDirectionsState]:
        require_arguments(name, params=params, value=value, grad=grad)
        require_same_leaves(name, updates, params=params, grad=grad)
        given = {"value": value, "grad": grad, **extra}
        updates = ascent_direction(updates, grad)
        directions, pair_state = pair.update(updates, state.pair, params, **given)
        given_rule = {"choose": _choose(applied, directions), **given}
        if directions.scaling is not None:
            given_rule["scaling"] = directions.scaling
        moved, rule_state = rule.update(
            directions.searched, state.step_rule, params, **given_rule
        )
        report = find_reports(rule_state)[-1]
        told = pair.tell(pair_state, moved, report, params, **given)
        return moved, TwoDirectionsState(told, rule_state)

    return optax.GradientTransformationExtraArgs(init, update)
