"""The head of an optimizer: its arguments, and JAX's gradient of complex params."""

from typing import Any

import optax

from optaxls._core.arguments import ascent_direction, require_arguments


def conjugated(
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    name: str = "",
    needs: tuple[str, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """``optimizer``, fed the ascent direction where a loop passes JAX's gradient.

    Before any momentum, where the two can still be told apart. Real params: nothing.
    ``needs`` are the arguments that must be there, where ``optimizer`` is a chain whose
    parts would ask for them one by one; ``name`` is who asks.
    """

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        given = {"params": params, **extra}
        require_arguments(name, **{key: given.get(key) for key in needs})
        updates = ascent_direction(updates, extra.get("grad"))
        return optimizer.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)
