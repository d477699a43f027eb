"""For training loops: a step function, gradient accumulation, training a subset."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _checks, _tree
from optaxls._metrics import metrics
from optaxls._types import Params


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


def _value_and_grad(value_fn: Callable, params: Params, has_aux: bool) -> Any:
    """Value and gradient; integer leaves of the params are frozen, their gradient 0."""
    evaluate = jax.value_and_grad(value_fn, has_aux=has_aux, allow_int=True)
    value, grads = evaluate(params)

    def known(grad: Any, leaf: Any) -> Any:
        return jnp.zeros_like(leaf) if grad.dtype == jax.dtypes.float0 else grad

    return value, jax.tree.map(known, grads, params)


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
            return _value_and_grad(value_fn, at, has_aux)[1]

        value, grads = _value_and_grad(value_fn, params, has_aux)
        value, aux = value if has_aux else (value, ())
        # JAX's gradient in complex params is the conjugate of the ascent direction.
        updates, opt_state = _update(
            optimizer, _tree.conj(grads), opt_state, params, grad_fn,
            value=value, grad=grads, value_fn=value_fn,
        )  # fmt: skip
        params = optax.apply_updates(params, updates)
        return StepResult(params, opt_state, value, aux, metrics(opt_state))

    return step


def accumulate(
    loss_fn: Callable[..., Any], num_micro_batches: int
) -> Callable[..., Any]:
    r"""The loss of a large batch, evaluated a micro-batch at a time.

    :math:`f(w) = \frac1M \sum_{m=1}^M f_m(w)` by ``lax.scan``, each term rematerialised
    in the backward pass, so that value, gradient *and* trials are those of the large
    batch at the activation memory of a small one.

    Args:
      loss_fn: ``(params, *args) -> loss`` or ``(loss, aux)``, a mean over the examples.
      num_micro_batches: M, >= 1; must divide the leading axis of every array argument.

    Returns:
      A loss of the same signature. Scalars and random keys in ``args`` reach every
      micro-batch as they are; aux comes back stacked along a new leading axis.

    Raises:
      ValueError: M is not a positive integer, or does not divide a leading axis.

    Cost:
      The gradient costs one more forward pass (rematerialisation). On XLA's CPU
      backend convolutions are slow inside ``scan``.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> def loss(w, x):
      ...     return jnp.mean((x - w) ** 2)
      >>> large = optaxls.accumulate(loss, num_micro_batches=2)
      >>> x = jnp.array([1.0, 2.0, 3.0, 4.0])
      >>> print(loss(0.0, x), large(0.0, x), jax.grad(large)(0.0, x))
      7.5 7.5 -5.0

    Reference:
      Ours; ``optax.MultiSteps`` averages gradients but leaves value and trials small.
    """
    _checks.require_integer("num_micro_batches", num_micro_batches, 1)

    def is_data(leaf: Any) -> bool:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf.ndim > 0 and not is_key

    def split(leaf: jax.Array) -> jax.Array:
        if leaf.shape[0] % num_micro_batches:
            raise ValueError(
                f"num_micro_batches = {num_micro_batches} does not divide the leading "
                f"axis of an argument of shape {leaf.shape}"
            )
        micro_size = leaf.shape[0] // num_micro_batches
        return leaf.reshape(num_micro_batches, micro_size, *leaf.shape[1:])

    def accumulated(params: Params, *args: Any) -> Any:
        leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, args))
        data = {i: split(leaf) for i, leaf in enumerate(leaves) if is_data(leaf)}

        @jax.checkpoint
        def micro_loss(params: Params, slices: dict[int, jax.Array]) -> Any:
            merged = [slices.get(i, leaf) for i, leaf in enumerate(leaves)]
            return loss_fn(params, *jax.tree.unflatten(treedef, merged))

        one = jax.tree.map(lambda leaf: leaf[0], data)
        shape = jax.eval_shape(micro_loss, params, one)
        has_aux = isinstance(shape, tuple)
        dtype = shape[0].dtype if has_aux else shape.dtype

        def body(total: jax.Array, slices: dict[int, jax.Array]):
            value = micro_loss(params, slices)
            value, aux = value if has_aux else (value, None)
            return total + value / num_micro_batches, aux

        total, aux = jax.lax.scan(body, jnp.zeros((), dtype), data)
        return (total, aux) if has_aux else total

    return accumulated


def on_subset(
    optimizer: optax.GradientTransformation, mask: Any
) -> optax.GradientTransformationExtraArgs:
    """Trains only the masked leaves; the search still sees the full tree.

    The direction of the other leaves is zeroed before the optimizer and after it
    (weight decay would move them). ``optax.masked`` around a search fails instead:
    ``grad`` and ``value_fn`` are not masked with the updates.

    Args:
      optimizer: any optax optimizer.
      mask: tree of Python bools with the structure of params or a prefix of it, True
        where a leaf is trained; or a function from params to one.

    Returns:
      A transformation that needs what ``optimizer`` needs.

    Cost:
      That of ``optimizer``.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.on_subset(optaxls.sps(), {"body": False, "head": True})
      >>> w = {"body": jnp.array(2.0), "head": jnp.array(2.0)}
      >>> updates, _ = optimizer.update(
      ...     w, optimizer.init(w), w, value=jnp.array(4.0), grad=w)
      >>> print(updates["body"], updates["head"])
      0.0 -4.0

    Reference:
      Ours.
    """
    if callable(mask):
        freeze_mask = lambda params: jax.tree.map(lambda m: not m, mask(params))  # noqa: E731
    else:
        freeze_mask = jax.tree.map(lambda m: not m, mask)
    frozen = optax.masked(optax.set_to_zero(), freeze_mask)
    return optax.chain(frozen, optimizer, frozen)
