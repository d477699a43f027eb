"""Weight decay in proportion to the step size that was found."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.reports import find_reports, paths_of, require_reports
from optaxls.parts.types import Params


class DecayedState(NamedTuple):
    """The state of the step-size rule, whose ``trial_value`` is that before the decay.

    It is a state of its own, as the params do not end where the trial was.
    """

    step_rule: Any


def decayed(
    step_rule: optax.GradientTransformation, weight_decay: float
) -> optax.GradientTransformationExtraArgs:
    r"""Weight decay in proportion to the step size that was found.

    :math:`w_+ = w + u - \min(\eta\lambda, 1)\,w` with :math:`u` the updates of
    ``step_rule``, :math:`\eta` the step size that it found and :math:`\lambda` the
    ``weight_decay``. This is the decoupled decay of AdamW: where training comes to rest
    does not depend on the step size.

    The decay comes after the search, and is not tested. Near the end of training it
    raises the loss, so a search would forbid it there.

    Args:
      step_rule: what finds the step size, such as ``scale_by_line_search(...)``, an
        optimizer, or an ``optax.chain`` with one of these. Of several step sizes in a
        chain the last one counts.
      weight_decay: >= 0. Its unit is that of 1 / step size.

    Returns:
      A transformation. Its ``update`` needs ``params`` and what ``step_rule`` needs. A
      step of 0 decays nothing.

    State:
      ``step_rule``, whose ``trial_value`` is the loss before the decay.

    Raises:
      ValueError: ``weight_decay`` lies outside its range.
      TypeError, from ``init``: no part of ``step_rule`` finds a step size, or its path
      keeps the params in a set, which a decay leaves.

    Cost:
      It evaluates no loss and keeps no state. It passes over the params once; a decay
      of 0 costs nothing.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> search = optax.chain(optax.scale(-1.0), optaxls.scale_by_line_search(
      ...     optaxls.armijo(0.1), optaxls.constant(0.5)))
      >>> tx = optaxls.decayed(search, 0.25)
      >>> w = jnp.array([2.0])
      >>> updates, _ = tx.update(w, tx.init(w), w, value=jnp.array(2.0), grad=w,
      ...                        value_fn=lambda w: 0.5 * jnp.sum(w**2))
      >>> print(updates)  # -0.5 * 2 for the loss, -0.5 * 0.25 * 2 for the decay
      [-1.25]

    Reference:
      Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019,
      arXiv:1711.05101, where the step size is a schedule.
    """
    checks.require("weight_decay", weight_decay, "[0, inf)")
    rule = optax.with_extra_args_support(step_rule)

    # The state must not depend on the number: optax.inject_hyperparams traces it.
    decays = not isinstance(weight_decay, (int, float)) or weight_decay > 0

    def init(params: Params) -> DecayedState:
        state = rule.init(params)
        require_reports("decayed", state)
        for path in paths_of(rule.init, params) if decays else ():
            if path.prox is not None and path.prox.domain is not None:
                raise TypeError(
                    "decayed: the decay would leave the set of the path of step_rule. "
                    "Put a penalty 0.5 * weight_decay * ||w||^2 in the loss"
                )
        return DecayedState(state)

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, DecayedState]:
        updates, new = rule.update(updates, state.step_rule, params, **extra)
        if not decays:
            return updates, DecayedState(new)
        # The size of a step along a reversed direction is negative.
        step_size = jnp.abs(find_reports(new)[-1].step_size)
        shrink = jnp.minimum(step_size * weight_decay, 1)
        # NaN params must not enter by 0 * NaN where no step is made.
        updates = trees.add_scaled(updates, -shrink, params, where=shrink > 0)
        return updates, DecayedState(new)

    return optax.GradientTransformationExtraArgs(init, update)
