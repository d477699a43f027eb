"""The loss of a large batch, a micro-batch at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.loss import as_scalar
from optaxls._core.splitting import checked_split, split_flags
from optaxls.parts.types import Params


def _micro_batches(leaves: list, flags: list[bool], number: int) -> dict:
    """The arrays to split, by their place, with a leading axis of micro-batches."""
    chosen = {i: leaf for i, leaf in enumerate(leaves) if flags[i]}
    if not chosen:
        raise ValueError(
            "accumulate: no argument after params is an array to split. Pass the batch "
            "as an argument of the loss, not in a closure."
        )
    lengths = {leaf.shape[0] for leaf in chosen.values()}
    if len(lengths) > 1:
        shapes = ", ".join(str(leaf.shape) for leaf in chosen.values())
        raise ValueError(
            "accumulate: what is split must have the same leading axis, got shapes "
            f"{shapes}. Put False in split where an array is for all examples."
        )
    (length,) = lengths
    if length % number:
        shape = next(iter(chosen.values())).shape
        raise ValueError(
            f"num_micro_batches = {number} does not divide the leading axis of an "
            f"argument of shape {shape}"
        )
    size = length // number
    return {
        i: jnp.asarray(leaf).reshape(number, size, *leaf.shape[1:])
        for i, leaf in chosen.items()
    }


def _weights(weight_fn: Callable, micro_args: Callable, data: dict) -> jax.Array:
    """The weight of each micro-batch."""

    def weight(slices: dict) -> jax.Array:
        found = jnp.asarray(weight_fn(*micro_args(slices)))
        if found.shape != ():
            raise ValueError(
                "weight_fn must return a scalar, the weight of all examples that it "
                f"is given, got an array of shape {found.shape}"
            )
        return found.astype(jnp.promote_types(found.dtype, jnp.float32))

    return jax.lax.map(weight, data)


def _weighted_mean(micro_loss: Callable, data: dict, weights: jax.Array | None) -> Any:
    """The mean of the losses of the micro-batches, and their aux if they have one."""
    number = len(next(iter(data.values())))
    shape = jax.eval_shape(micro_loss, {i: leaf[0] for i, leaf in data.items()})
    has_aux = isinstance(shape, tuple)
    arrived = jnp.result_type(shape[0] if has_aux else shape)
    # A micro-batch of weight 0 may have the loss 0 / 0. Multiplied by 0 that would be
    # NaN, in the backward pass at least. So the one of the largest weight replaces it.
    stand_in = None
    if weights is not None:
        stand_in = {i: leaf[jnp.argmax(weights)] for i, leaf in data.items()}

    def term(weight: jax.Array, slices: dict) -> Any:
        if stand_in is not None:
            slices = trees.select(weight != 0, slices, stand_in)
        found = micro_loss(slices)
        loss, aux = found if has_aux else (found, None)
        loss = as_scalar(loss, jnp.float32, "what loss_fn returns")
        if stand_in is None:
            return loss, aux
        nothing = jax.tree.map(jnp.zeros_like, aux)
        return weight * loss, trees.select(weight != 0, aux, nothing)

    def body(total: jax.Array, slices_and_weight: Any) -> Any:
        loss, aux = term(*slices_and_weight)
        return total + loss, aux

    each = jnp.ones(number, jnp.float32) if weights is None else weights
    kind = jnp.promote_types(jnp.promote_types(arrived, jnp.float32), each.dtype)
    total, aux = jax.lax.scan(body, jnp.zeros((), kind), (each, data))
    mean = total / (number if weights is None else jnp.sum(weights))
    mean = mean.astype(arrived) if jnp.issubdtype(arrived, jnp.inexact) else mean
    return (mean, aux) if has_aux else mean


def accumulate(
    loss_fn: Callable[..., Any],
    num_micro_batches: int,
    *,
    split: Any = None,
    weight_fn: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    r"""Makes a loss that evaluates a large batch one micro-batch at a time.

    :math:`f(w) = \sum_m v_m f_m(w) / \sum_m v_m` over the M micro-batches, by
    ``lax.scan``. The weights :math:`v_m` are equal, or those of ``weight_fn``. Each
    term is computed again in the backward pass. Value, gradient *and* trials are those
    of the large batch, at the activation memory of a small one.

    The loss must be a mean over the examples, weighted or not. A loss that compares
    examples with each other (contrastive losses, batch norm) cannot be accumulated.

    Args:
      loss_fn: ``(params, *args) -> loss`` or ``(loss, aux)``.
      num_micro_batches: M, >= 1. It must divide the number of examples.
      split: which arguments have one entry per example: a bool, or a tuple with a bool
        for each of ``args``, or a tree of them, as ``in_axes`` of ``jax.vmap``. By
        default every array is split, and all must have equally many entries. Numbers
        and single typed keys are never split.
      weight_fn: ``(*args) -> ()``, the weight of a micro-batch, such as the sum of its
        mask. It is needed where the loss divides by anything but the number of
        examples. A micro-batch of weight 0 counts for nothing, whatever its loss is.

    Returns:
      A loss of the same signature. Arguments that are not split reach every
      micro-batch as they are. aux comes back stacked along a new leading axis, zeros
      where the weight is 0. A batch whose weights are all 0 has the loss NaN.

    Raises:
      ValueError: an argument lies outside its range; from the loss, what is split
        cannot be known, or cannot be divided.

    Cost:
      The gradient costs one more forward pass. Convolutions are slow inside ``scan`` on
      XLA's CPU backend.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> def loss(w, x, mask):
      ...     return jnp.sum(mask * (x - w) ** 2) / jnp.sum(mask)
      >>> large = optaxls.accumulate(
      ...     loss, num_micro_batches=2, weight_fn=lambda x, mask: jnp.sum(mask))
      >>> x, mask = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
      >>> print(loss(1.0, x, mask), large(1.0, x, mask))
      1.6666666 1.6666666
      >>> def weighted_loss(w, x, class_weights):
      ...     return jnp.mean((x - w) ** 2) * class_weights[0]
      >>> large = optaxls.accumulate(weighted_loss, 2, split=(True, False))
      >>> print(large(0.0, x, jnp.array([2.0, 1.0])))
      15.0

    Reference:
      No publication; defined here. ``optax.MultiSteps`` averages gradients, but its
      loss and trials are those of one micro-batch.
    """
    checks.require_integer("num_micro_batches", num_micro_batches, 1)
    split = checked_split(split)
    if weight_fn is not None and not callable(weight_fn):
        raise ValueError(f"weight_fn must be a function or None, got {weight_fn!r}")

    def accumulated(params: Params, *args: Any) -> Any:
        leaves, treedef = jax.tree.flatten(args)
        flags = split_flags("accumulate", split, args, f"loss_fn, {num_micro_batches}")
        data = _micro_batches(leaves, flags, num_micro_batches)

        def micro_args(slices: dict) -> tuple:
            merged = [slices.get(i, leaf) for i, leaf in enumerate(leaves)]
            return jax.tree.unflatten(treedef, merged)

        @jax.checkpoint
        def micro_loss(params: Params, slices: dict) -> Any:
            return loss_fn(params, *micro_args(slices))

        weights = None
        if weight_fn is not None:
            weights = _weights(weight_fn, micro_args, data)
        return _weighted_mean(functools.partial(micro_loss, params), data, weights)

    return accumulated
