"""Calls any optimizer of optax with the update arguments that it takes."""

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import optax

from optaxls._core import trees
from optaxls.parts.types import Params

Extra = Callable[..., dict[str, Any]]
# What a training step passes itself.
_RESERVED = ("updates", "state", "params", "value", "grad", "value_fn")


def require_extra(extra: Any) -> None:
    """Raises TypeError unless ``extra`` is a function or None."""
    if extra is not None and not callable(extra):
        raise TypeError(f"extra must be a function or None, got {extra!r}")


def further(name: str, extra: Extra | None, params: Params, *args: Any) -> dict:
    """The update arguments that ``extra`` returns; ``name`` is who passes them on."""
    if extra is None:
        return {}
    found = extra(params, *args)
    if not isinstance(found, dict):
        raise TypeError(
            "extra must return a dict of update arguments, such as "
            f"{{'lower_bound': 0.0}}, got a value of type {type(found).__name__}"
        )
    taken = [name for name in _RESERVED if name in found]
    if taken:
        raise ValueError(
            f"extra must not return {', '.join(map(repr, taken))}: {name} passes "
            f"{', '.join(map(repr, _RESERVED[2:]))} itself"
        )
    return found


def _comes_from(error: Exception, functions: tuple[Callable[..., Any], ...]) -> bool:
    """Whether the error was raised in one of the functions, or below it."""
    codes = {function.__code__ for function in functions}
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code in codes for frame, _ in frames)


def _refuses_grad_fn(error: TypeError) -> bool:
    """Whether Python or optax says that a function does not take ``grad_fn``."""
    text = str(error)
    return "unexpected keyword argument" in text.lower() and "grad_fn" in text


def _accepted(
    optimizer: optax.GradientTransformation, extra: dict[str, Any]
) -> dict[str, Any]:
    """The update arguments that ``optimizer.update`` takes by its signature."""
    parameters = inspect.signature(optimizer.update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return extra
    return {key: extra[key] for key in extra if key in parameters}


def _update(update: Callable[..., Any], loss_fns: tuple, extra: dict[str, Any]) -> Any:
    """Calls ``update`` with ``grad_fn``, and without it where that is refused.

    optax's own line searches raise on keyword arguments that they do not know, and a
    chain does not tell which optimizers it holds. This is decided once, while tracing.
    An error of the user's loss is never taken for such a refusal.
    """
    try:
        return update(**extra)
    except TypeError as error:
        if _comes_from(error, loss_fns) or not _refuses_grad_fn(error):
            raise
        refusal = error
    rest = {key: extra[key] for key in extra if key != "grad_fn"}
    try:
        return update(**rest)
    except (TypeError, ValueError) as error:
        if _comes_from(error, loss_fns) or "grad_fn" not in str(error):
            raise
    # One part of the optimizer refuses grad_fn, another cannot do without it.
    raise refusal


def updated(
    optimizer: optax.GradientTransformation,
    params: Params,
    opt_state: Any,
    *,
    value: Any,
    grads: Params,
    value_fn: Callable[..., Any],
    grad_fn: Callable[..., Any],
    further: dict[str, Any],
) -> tuple[Params, Any]:
    """Returns the new params and state of a step, for any optimizer of optax."""
    # JAX's gradient in complex params is the conjugate of the ascent direction.
    update = functools.partial(optimizer.update, trees.conj(grads), opt_state, params)
    given = {"value": value, "grad": grads, "value_fn": value_fn, **further}
    if "grad_fn" in given:
        updates, opt_state = update(**_accepted(optimizer, given))
    else:
        given = _accepted(optimizer, given | {"grad_fn": grad_fn})
        updates, opt_state = _update(update, (value_fn, grad_fn), given)
    return optax.apply_updates(params, updates), opt_state
