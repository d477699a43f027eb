"""A training step that passes an optimizer all that it asks for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from optaxls._core.arguments import require_arrays
from optaxls._core.loss import value_and_grad
from optaxls.parts.types import Params
from optaxls.training._update import Extra, further, require_extra, updated
from optaxls.training.metrics import metrics


class StepResult(NamedTuple):
    """What a training step returns; ``aux`` is () without ``has_aux``."""

    params: Params
    opt_state: Any
    value: jax.Array
    aux: Any
    metrics: dict[str, jax.Array]


def make_step(
    loss_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    has_aux: bool = False,
    extra: Extra | None = None,
) -> Callable[..., StepResult]:
    """Builds a training step that passes an optimizer all it may ask for.

    Args:
      loss_fn: ``(params, *args) -> loss``, or ``(loss, aux)`` with ``has_aux``. The
        ``args`` are the batch, random keys and the like. Every trial gets the same,
        since a search compares losses of one function.
      optimizer: any optax optimizer, of this package or not.
      has_aux: whether ``loss_fn`` returns ``(loss, aux)``.
      extra: ``(params, *args) -> dict`` of further ``update`` arguments, such as
        ``lower_bound`` or ``index``, for the optimizer that asks for them.

    Returns:
      ``step(params, opt_state, *args) -> StepResult``: new params and state, the loss
      and aux at the old params, and ``metrics``. It is pure and can be used under
      ``jit`` (donating the first two arguments is safe), ``scan`` and ``vmap``. In
      complex params the step follows the conjugate of JAX's gradient, along which the
      loss descends.

    Raises:
      TypeError: ``loss_fn``, ``optimizer`` or ``extra`` is not what it should be; from
        the step, params hold leaves that are no arrays, such as functions.
      ValueError, from the step: ``extra`` returns what ``make_step`` passes itself.

    Cost:
      It evaluates the loss and its gradient once, and the loss once per trial.

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

      A lower bound that belongs to the batch, for Polyak steps:

      >>> def bounded_loss(w, x, least):
      ...     return 0.5 * jnp.sum((x - w) ** 2) + least
      >>> optimizer = optaxls.sps()
      >>> step = optaxls.make_step(
      ...     bounded_loss, optimizer, extra=lambda w, x, least: {"lower_bound": least})
      >>> w = jnp.zeros(1)
      >>> step(w, optimizer.init(w), jnp.ones(1), 7.0).params
      Array([1.], dtype=float32)

    Reference:
      No publication; defined here.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be callable, got {loss_fn!r}")
    if not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be an optax optimizer, got {optimizer!r}")
    require_extra(extra)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Params, opt_state: Any, *args: Any) -> StepResult:
        require_arrays("make_step", params)

        def value_fn(at: Params) -> Any:
            return loss_fn(at, *args)

        def grad_fn(at: Params, *_: Any) -> Params:
            return value_and_grad(value_fn, at, has_aux)[1]

        value, grads = value_and_grad(value_fn, params, has_aux)
        value, aux = value if has_aux else (value, ())
        params, opt_state = updated(
            optimizer,
            params,
            opt_state,
            value=value,
            grads=grads,
            value_fn=value_fn,
            grad_fn=grad_fn,
            further=further("make_step", extra, params, *args),
        )
        return StepResult(params, opt_state, value, aux, metrics(opt_state))

    return step
