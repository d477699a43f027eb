"""What every optimizer does first: check arguments, turn gradients into ascent."""

from typing import Any

import optax

from optaxls._core.arguments import ascent_direction, require_arguments


def conjugated(
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    name: str = "",
    needs: tuple[str, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """Wraps ``optimizer`` so that it gets the ascent direction, also in complex params.

    For complex params JAX's gradient is the conjugate of the ascent direction. The two
    can be told apart before any momentum, so it is done here. Real params are passed on
    as they are. ``needs`` names the update arguments that must be given, so that one
    error lists them all; ``name`` is the optimizer that the error names.
    """

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        given = {"params": params, **extra}
        require_arguments(name, **{key: given.get(key) for key in needs})
        updates = ascent_direction(updates, extra.get("grad"))
        return optimizer.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)
