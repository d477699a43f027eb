"""Gradients of single examples, reduced to the few numbers that diagnoses need."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics._shared.derivatives import slope_along, value_and_gradient


class GradientSample(NamedTuple):
    """Statistics of the gradients of n examples at one point.

    Attributes:
      values: losses f_i, ``(n,)``.
      squared_norms: |grad f_i|^2, ``(n,)``.
      noise_norms: |grad f_i - mean gradient|, ``(n,)``.
      mean_squared_norm: E |grad f_i|^2, ``()``.
      squared_mean_norm: |grad f|^2 of the whole population, unbiased, ``()``.
      left_out: the last two, computed without each of the groups, for intervals,
        ``(2, groups)``.
    """

    values: jax.Array
    squared_norms: jax.Array
    noise_norms: jax.Array
    mean_squared_norm: jax.Array
    squared_mean_norm: jax.Array
    left_out: jax.Array


class _Chunks(NamedTuple):
    """Examples in rows of ``chunk_size``; copies that fill the last row weigh 0."""

    data: Any
    weights: jax.Array


def _chunked(data: Any, count: int, chunk_size: int, dtype: Any) -> _Chunks:
    """Puts every ``rounds``-th example into one chunk.

    Neighbours lie in different chunks. So each device that holds a slice of the
    examples has its share of every chunk, and no example moves to another device.
    """
    rounds = -(-count // chunk_size)
    total = rounds * chunk_size

    def rows(leaf: jax.Array) -> jax.Array:
        if total > count:
            padding = [(0, total - count)] + [(0, 0)] * (leaf.ndim - 1)
            # Copies of a real example: zeros might have a loss that is not finite.
            leaf = jnp.pad(leaf, padding, mode="edge")
        return leaf.reshape(chunk_size, rounds, *leaf.shape[1:]).swapaxes(0, 1)

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
    r"""Computes the gradient of every example and keeps only their statistics.

    These are :math:`|\nabla f_i|`, its mean square :math:`E|\nabla f_i|^2`, the
    squared norm :math:`|\nabla f|^2` of the mean gradient, and the noise
    :math:`|\nabla f_i - \nabla f|`. The squared norm of a mean of n out of N
    (``population``) gradients is too large by :math:`(1 - n/N)\,s^2/n` on average, with
    :math:`s^2` their variance. This is subtracted.

    Args:
      loss_fn: ``(params, example) -> loss`` of one example, without a batch axis. To
        measure mini-batches instead, give ``data`` a leading axis of batches.
      params: where to measure; integer leaves stay fixed.
      data: a pytree of arrays with a leading axis of n >= 2 examples.
      population: N, how many examples the n were drawn from; by default N is n.
      chunk_size: >= 1, how many gradients are in memory at once. A chunk is also a
        group of the jackknife: intervals are usable from ten chunks on.

    Returns:
      A ``GradientSample``, in units of the loss and of loss per unit of the params.

    Raises:
      ValueError: an argument lies outside its range, or the arrays of ``data`` differ
        in length.

    Cost:
      A gradient and a forward-mode derivative of every example. Memory:
      ``chunk_size + 2`` copies of the params. It can be jitted. A sharded axis of
      examples stays sharded if ``chunk_size`` is a multiple of the devices. On a mesh
      with explicit axes ``chunk_size`` must divide n.

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
      No publication; the statistics are defined here.
    """
    count = arrays.num_examples("data", data, 2)
    checks.require_integer("chunk_size", chunk_size, 1)
    population = count if population is None else population
    checks.require_integer("population", population, count)
    dtype = trees.scalar_dtype(params)
    # float32 or wider: sums of bfloat16 gradients would lose most terms.
    chunks = _chunked(data, count, min(chunk_size, count), dtype)
    # Two passes: all gradients of the examples at once need not fit in memory.
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

    # Written out, |g_i - g|^2 may round to less than 0.
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
    """Sums all gradients; for each chunk gives losses and two kinds of squared norm.

    The two are the squared norms of its gradients, and that of their sum.
    """

    def of_example(example: Any) -> tuple[jax.Array, Any]:
        return value_and_gradient(lambda p: loss_fn(p, example), params)

    def add(total: Any, chunk: _Chunks) -> Any:
        values, grads = jax.vmap(of_example)(chunk.data)
        grads = trees.wide(trees.inexact_leaves(grads), dtype)
        squares = jax.vmap(lambda tree: trees.sqnorm(tree, dtype))(grads)
        group = [
            jnp.tensordot(chunk.weights.astype(leaf.dtype), leaf, 1) for leaf in grads
        ]
        total = jax.tree.map(jnp.add, total, group)
        return total, (values.astype(dtype), squares, trees.sqnorm(group, dtype))

    zeros = [
        jnp.zeros_like(leaf) for leaf in trees.wide(trees.inexact_leaves(params), dtype)
    ]
    return jax.lax.scan(add, zeros, chunks)


def _products(loss_fn: Callable, params: Any, chunks: _Chunks, mean: Any) -> jax.Array:
    """Inner product of each example's gradient with the mean gradient.

    A forward-mode derivative gives it without a second set of gradients in memory.
    """
    # JAX's gradient of complex params is the conjugate of the direction of ascent.
    ascent = trees.conj(mean)

    def product(example: Any) -> jax.Array:
        return slope_along(lambda p: loss_fn(p, example), params, ascent)

    rows = jax.lax.map(jax.vmap(product), chunks.data)
    return rows.astype(chunks.weights.dtype)


def _unbiased(squared: jax.Array, mean_square: jax.Array, n: Any, total: int) -> Any:
    """|grad f|^2 of a population of ``total``, from the gradients of n of them."""
    # n / (n - 1): the mean is estimated from the same gradients. A difference of
    # nearly equal numbers may round to less than 0.
    variance = jnp.maximum(squared - mean_square, 0) * n / jnp.maximum(n - 1, 1)
    return jnp.maximum(mean_square - (1 - n / total) * variance / n, 0)


def _left_out(sizes, squares, products, group_squares, mean_square, population):
    """Mean squared norm and squared mean norm without each chunk, ``(2, chunks)``."""
    count = sizes.sum()
    rest = count - sizes
    mean_squared = (squares.sum() - squares) / rest
    # |sum of all - sum of the group|^2, multiplied out.
    without = count**2 * mean_square - 2 * count * products + group_squares
    squared_mean = jnp.maximum(without, 0) / rest**2
    # The population shrinks by the same share, so that n/N stays what it is.
    total = population * rest / count
    return jnp.stack([mean_squared, _unbiased(mean_squared, squared_mean, rest, total)])
