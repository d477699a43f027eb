"""From the gradient to the direction that is added: the sign."""

import optax

from optaxls._core import trees


def descent() -> optax.GradientTransformation:
    """``optax.scale(-1.0)``, such that a search can undo it without a copy."""
    return optax.stateless(lambda updates, params: trees.reverse(updates))
