"""A training step that passes an optimizer all that it asks for."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from optaxls._core import trees
from optaxls._core.loss import value_and_grad
from optaxls.parts.types import Params
from optaxls.training.metrics import metrics


class StepResult(NamedTuple):
    """What a training step returns; ``aux`` is () without ``has_aux``."""

    params: Params
    opt_state: Any
    value: jax.Array
    aux: Any
    metrics: dict[str, jax.Array]


def _update(optimizer, grads, state, params, grad_fn, **extra):
    """Passes what the optimizer takes, and ``grad_fn`` only where it is not refused.

    optax's own line searches raise on keyword arguments they do not know, and which
    optimizer stands in a chain cannot be asked. Decided while tracing, once.
    """
    extra["grad_fn"] = grad_fn
    parameters = inspect.signature(optimizer.update).parameters
    if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        extra = {key: extra[key] for key in extra if key in parameters}
    try:
        return optimizer.update(grads, state, params, **extra)
    except TypeError as error:
        if "grad_fn" not in str(error):
            raise
        del extra["grad_fn"]
        return optimizer.update(grads, state, params, **extra)


def make_step(
    loss_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    has_aux: bool = False,
) -> Callable[..., StepResult]:
    """Builds a training step that passes an optimizer all it may ask for.

    Args:
      loss_fn: ``(params, *args) -> loss``, or ``(loss, aux)`` with ``has_aux``. The
        ``args`` are the batch, random keys and the like, the same for every trial.
      optimizer: any optax optimizer, ours or not.
      has_aux: whether ``loss_fn`` returns ``(loss, aux)``.

    Returns:
      ``step(params, opt_state, *args) -> StepResult``: new params and state, the loss,
      aux and ``metrics`` of the batch (loss and aux at the old params). Pure: jit it
      (donating the first two arguments is safe), scan it, vmap it.

    Raises:
      TypeError: ``loss_fn`` or ``optimizer`` is not what it should be.

    Cost:
      One value and gradient, and the trials.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> def loss(w, x, y):
      ...     return jnp.mean((x @ w - y) ** 2)
      >>> x = jnp.eye(3)
      >>> y = jnp.array([1.0, 2.0, 3.0])
      >>> optimizer = optaxls.ponos(decay=0.5)
      >>> step = jax.jit(optaxls.make_step(loss, optimizer))
      >>> w = jnp.zeros(3)
      >>> state = optimizer.init(w)
      >>> for _ in range(40):
      ...     w, state, value, _, report = step(w, state, x, y)
      >>> bool(jnp.allclose(w, y, atol=1e-3))
      True

    Reference:
      Ours.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be callable, got {loss_fn!r}")
    if not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be an optax optimizer, got {optimizer!r}")
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Params, opt_state: Any, *args: Any) -> StepResult:
        def value_fn(at: Params) -> Any:
            return loss_fn(at, *args)

        def grad_fn(at: Params, *_: Any) -> Params:
            return value_and_grad(value_fn, at, has_aux)[1]

        value, grads = value_and_grad(value_fn, params, has_aux)
        value, aux = value if has_aux else (value, ())
        # JAX's gradient in complex params is the conjugate of the ascent direction.
        updates, opt_state = _update(
            optimizer, trees.conj(grads), opt_state, params, grad_fn,
            value=value, grad=grads, value_fn=value_fn,
        )  # fmt: skip
        params = optax.apply_updates(params, updates)
        return StepResult(params, opt_state, value, aux, metrics(opt_state))

    return step
