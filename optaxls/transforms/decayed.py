"""Weight decay in proportion to the step size that was found."""

from typing import Any

import jax.numpy as jnp
import optax

from optaxls._core import trees


def decayed(
    rule: optax.GradientTransformationExtraArgs, weight_decay: Any
) -> optax.GradientTransformationExtraArgs:
    """Shrinks the params by the step size that the rule found, times the decay.

    After the rule: decay climbs the loss where training comes to rest, and a search or
    a cautious mask would forbid it there.
    """

    def update(updates: Any, state: Any, params: Any = None, **extra: Any):
        updates, new = rule.update(updates, state, params, **extra)
        found: Any = new
        shrink = jnp.minimum(found.step_size * weight_decay, 1)
        # No step, no decay: not even 0 * NaN.
        return trees.add_scaled(updates, -shrink, params, where=shrink > 0), new

    return optax.GradientTransformationExtraArgs(rule.init, update)
