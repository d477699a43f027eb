"""Gradients of single examples, reduced to the few numbers that diagnoses need."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees


class GradientSample(NamedTuple):
    """What is kept of the gradients of n examples at one point.

    Attributes:
      values: losses f_i, ``(n,)``.
      squared_norms: |grad f_i|^2, ``(n,)``.
      noise_norms: |grad f_i - mean gradient|, ``(n,)``.
      mean_squared_norm: E |grad f_i|^2, ``()``.
      squared_mean_norm: |grad f|^2 of the whole population, unbiased, ``()``.
      left_out: those two without each of the groups, for intervals, ``(2, groups)``.
    """

    values: jax.Array
    squared_norms: jax.Array
    noise_norms: jax.Array
    mean_squared_norm: jax.Array
    squared_mean_norm: jax.Array
    left_out: jax.Array


class _Chunks(NamedTuple):
    """Examples in rows of ``chunk_size``; the last ones may repeat and weigh 0."""

    data: Any
    weights: jax.Array


def _chunked(data: Any, count: int, chunk_size: int, dtype: Any) -> _Chunks:
    """Strided, so that a sharded axis of examples stays sharded inside a chunk."""
    rounds = -(-count // chunk_size)
    total = rounds * chunk_size

    def rows(leaf: jax.Array) -> jax.Array:
        padding = [(0, total - count)] + [(0, 0)] * (leaf.ndim - 1)
        filled = jnp.pad(leaf, padding, mode="edge")
        return filled.reshape(chunk_size, rounds, *leaf.shape[1:]).swapaxes(0, 1)

    weights = (jnp.arange(total) < count).astype(dtype)
    weights = weights.reshape(chunk_size, rounds).swapaxes(0, 1)
    return _Chunks(jax.tree.map(rows, data), weights)


def gradient_sample(
    loss_fn: Callable[..., jax.Array],
    params: Any,
    data: Any,
    *,
    population: int | None = None,
    chunk_size: int = 32,
) -> GradientSample:
    r"""Per-example gradients, reduced a chunk at a time.

    :math:`E|\nabla f_i|^2`, :math:`|\nabla f|^2` and :math:`|\nabla f_i - \nabla f|`.
    Of n examples out of N the mean gradient is too long by
    :math:`(1 - n/N)\,s^2/n` (:math:`s^2` the variance); that is taken off.

    Args:
      loss_fn: ``(params, example) -> loss``, of one example: no batch axis. For
        mini-batches in place of examples give ``data`` an axis of batches first.
      params: where to measure.
      data: a pytree of arrays with a leading axis of n >= 2 examples.
      population: N, of how many examples the n are a sample; by default they are all.
      chunk_size: >= 1, per-example gradients in memory at once; chunks are also the
        groups of the jackknife: at least ten of them give a usable interval.

    Returns:
      A ``GradientSample``, in units of the loss and of loss per unit of the params.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      A gradient and a forward-mode derivative of every example. Memory:
      ``chunk_size + 2`` copies of the params. Jit it; a sharded axis of examples stays
      sharded if ``chunk_size`` is a multiple of the devices.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import gradient_sample
      >>> x = jnp.array([1.0, 3.0])  # f_i = (w - x_i)^2 / 2
      >>> def loss(w, x):
      ...     return 0.5 * (w - x) ** 2
      >>> sample = gradient_sample(loss, jnp.array(0.0), x)
      >>> print(sample.mean_squared_norm, sample.squared_mean_norm, sample.noise_norms)
      5.0 4.0 [1. 1.]

    Reference:
      Ours.
    """
    counts = {len(leaf) for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(f"data must have one leading axis of >= 2, got {counts}")
    count = counts.pop()
    checks.require_integer("chunk_size", chunk_size, 1)
    population = count if population is None else population
    checks.require_integer("population", population, count)
    dtype = trees.scalar_dtype(params)
    chunks = _chunked(data, count, min(chunk_size, count), dtype)
    total, (values, squares, group_squares) = _gradients(loss_fn, params, chunks, dtype)
    mean = jax.tree.map(lambda leaf: leaf / count, total)
    products = _products(loss_fn, params, chunks, mean)
    mean_square = trees.sqnorm(mean, dtype)
    weights = chunks.weights
    left_out = _left_out(
        weights.sum(1),
        (weights * squares).sum(1),
        (weights * products).sum(1),
        group_squares,
        mean_square,
        population,
    )

    def flat(rows: jax.Array) -> jax.Array:
        return rows.swapaxes(0, 1).reshape(-1)[:count]

    noise = jnp.sqrt(jnp.maximum(squares - 2 * products + mean_square, 0))
    mean_squared_norm = (weights * squares).sum() / count
    return GradientSample(
        flat(values),
        flat(squares),
        flat(noise),
        mean_squared_norm,
        _unbiased(mean_squared_norm, mean_square, count, population),
        left_out,
    )


def _gradients(loss_fn: Callable, params: Any, chunks: _Chunks, dtype: Any) -> Any:
    """Sum of all gradients; of each chunk losses, squared norms and that of the sum."""
    one = jax.vmap(jax.value_and_grad(loss_fn, allow_int=True), (None, 0))

    def add(total: Any, chunk: _Chunks) -> Any:
        values, grads = one(params, chunk.data)
        grads = [leaf.astype(dtype) for leaf in trees.inexact_leaves(grads)]
        squares = jax.vmap(lambda tree: trees.sqnorm(tree, dtype))(grads)
        group = [jnp.tensordot(chunk.weights, leaf, 1) for leaf in grads]
        total = jax.tree.map(jnp.add, total, group)
        return total, (values.astype(dtype), squares, trees.sqnorm(group, dtype))

    zeros = [jnp.zeros(leaf.shape, dtype) for leaf in trees.inexact_leaves(params)]
    return jax.lax.scan(add, zeros, chunks)


def _products(loss_fn: Callable, params: Any, chunks: _Chunks, mean: Any) -> jax.Array:
    """Of every example <its gradient, mean gradient>, without its gradient."""
    leaves, structure = jax.tree.flatten(params)
    trained = [index for index, leaf in enumerate(leaves) if trees.is_inexact(leaf)]
    inner = [leaves[index] for index in trained]
    tangents = [
        m.astype(jnp.result_type(leaf)) for m, leaf in zip(mean, inner, strict=True)
    ]

    def product(example: Any) -> jax.Array:
        def loss(moved: Any) -> jax.Array:
            whole = list(leaves)
            for index, leaf in zip(trained, moved, strict=True):
                whole[index] = leaf
            return loss_fn(jax.tree.unflatten(structure, whole), example)

        return jax.jvp(loss, (inner,), (tangents,))[1]

    rows = jax.lax.map(jax.vmap(product), chunks.data)
    return rows.astype(chunks.weights.dtype)


def _unbiased(squared: jax.Array, mean_square: jax.Array, n: Any, total: int) -> Any:
    """|grad f|^2 of a population of ``total``, from the gradients of n of them."""
    variance = jnp.maximum(squared - mean_square, 0) * n / jnp.maximum(n - 1, 1)
    return jnp.maximum(mean_square - (1 - n / total) * variance / n, 0)


def _left_out(sizes, squares, products, group_squares, mean_square, population):
    """Mean squared norm and squared mean norm without each chunk, ``(2, chunks)``."""
    count = sizes.sum()
    rest = count - sizes
    mean_squared = (squares.sum() - squares) / rest
    without = count**2 * mean_square - 2 * count * products + group_squares
    squared_mean = jnp.maximum(without, 0) / rest**2
    # A sample smaller by a group stands for a population smaller by its share.
    total = population * rest / count
    return jnp.stack([mean_squared, _unbiased(mean_squared, squared_mean, rest, total)])
