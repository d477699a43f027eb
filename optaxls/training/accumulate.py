"""The loss of a large batch, a micro-batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.parts.types import Params


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
    checks.require_integer("num_micro_batches", num_micro_batches, 1)

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
