"""Which function of a finite sum a step is about, and whether it can be trusted."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls._core import checks, trees
from optaxls._core.loss import as_scalar
from optaxls._core.robust import MOST, factor_at_most_tenfold
from optaxls.parts.types import Params


class VisitsState(NamedTuple):
    """What is known of the functions' gradients.

    ``doubted``, (num_functions,) bool, marks the functions whose gradient was more than
    ten typical lengths long at their last visit. ``mean_grad_sqnorm`` is the mean of
    the last 100 or so squared lengths, ``num_measured`` their number so far.
    """

    doubted: jax.Array
    mean_grad_sqnorm: jax.Array
    num_measured: jax.Array


class Visit(NamedTuple):
    """One step: its place in the table, and whether it may change anything."""

    place: jax.Array
    in_range: jax.Array
    usable: jax.Array


def no_visits(params: Params, num_functions: int) -> VisitsState:
    """The state before the first step."""
    return VisitsState(
        jnp.zeros(int(num_functions), bool),
        jnp.zeros((), trees.scalar_dtype(params)),
        jnp.zeros((), jnp.int32),
    )


def relative_weights(weights: Any, num_functions: int) -> Any:
    """The weights with a mean of 1, or None where all functions weigh the same.

    Raises:
      ValueError: their number is another one, one is negative or not finite, or all
        are 0.
    """
    if weights is None:
        return None
    shape = (num_functions,)
    if isinstance(weights, str) or jnp.shape(weights) != shape:
        raise ValueError(
            f"weights must be None or have the shape {shape}, a weight for each "
            f"function, got {weights!r}"
        )
    if isinstance(weights, Tracer):
        return weights / jnp.mean(weights)
    known = [float(weight) for weight in getattr(weights, "tolist", lambda: weights)()]
    if not all(0 <= weight < math.inf for weight in known):
        raise ValueError(f"weights must lie in [0, inf), got {weights!r}")
    mean = math.fsum(known) / num_functions
    if mean == 0:
        raise ValueError(f"weights must not all be 0, got {weights!r}")
    return [weight / mean for weight in known]


def weight_at(weights: Any, place: jax.Array, dtype: Any) -> jax.Array:
    """The weight of one function, 1 without weights."""
    if weights is None:
        return jnp.ones((), dtype)
    return jnp.asarray(weights, dtype)[place]


def placed(name: str, index: Any, num_functions: int) -> tuple[jax.Array, jax.Array]:
    """The place of ``index``, and whether it is in range: an error where known.

    Out of range the place is the first one, whose row is then left as it was.
    """
    is_number = not isinstance(index, str) and jnp.shape(index) == ()
    if not (is_number and jnp.issubdtype(jnp.result_type(index), jnp.integer)):
        raise TypeError(
            f"{name}: index must be one integer, the number of the function that value "
            f"and grad are of, got {index!r}"
        )
    if not isinstance(index, Tracer) and not 0 <= int(index) < num_functions:
        raise ValueError(
            f"{name}: index must lie in [0, {num_functions}), as num_functions = "
            f"{num_functions}, got {int(index)}"
        )
    given = jnp.asarray(index)
    in_range = (given >= 0) & (given < num_functions)
    return jnp.where(in_range, given, 0).astype(jnp.int32), in_range


def read_once(
    read: Callable[[jax.Array], Any], place: jax.Array, in_range: jax.Array
) -> Any:
    """``read(place)``, done before anything is written to what it reads from.

    XLA moves the reading of a row into all that needs it. Part of that comes after the
    new row was written, so XLA would keep a copy of the whole table. It moves nothing
    out of a branch.
    """
    first = jnp.zeros_like(place)
    return trees.either(in_range, lambda: read(place), lambda: read(first))


def at(array: jax.Array, place: jax.Array) -> jax.Array:
    """The entry or row at ``place``."""
    return jax.lax.dynamic_index_in_dim(array, place, keepdims=False)


def put(array: jax.Array, entry: jax.Array, place: jax.Array) -> jax.Array:
    """The array with ``entry`` at ``place``."""
    return jax.lax.dynamic_update_index_in_dim(array, entry, place, 0)


def visited(
    state: VisitsState,
    place: jax.Array,
    in_range: jax.Array,
    doubted: jax.Array,
    grads: Params,
    value: Any,
) -> tuple[Visit, VisitsState]:
    """Looks at the gradient of a function before it is used.

    A gradient that is more than ten typical lengths long is left out at the first visit
    that finds it so, as the batch may have been spoiled. The next visit believes it:
    a function that is always steep belongs to the sum, and leaving it out for ever
    would move the minimum. ``doubted`` is the entry at ``place``.
    """
    mean = state.mean_grad_sqnorm
    sqnorm = trees.sqnorm(grads, mean.dtype)
    finite = jnp.isfinite(sqnorm) & jnp.isfinite(as_scalar(value, mean.dtype))
    finite = finite & in_range
    long = (mean > 0) & (sqnorm > MOST**2 * mean)
    usable = finite & (~long | doubted)
    rate = jnp.maximum(1 / (state.num_measured + 1), 0.01).astype(mean.dtype)
    bounded = factor_at_most_tenfold(sqnorm, mean) ** 2 * sqnorm
    count = state.num_measured
    new = VisitsState(
        put(state.doubted, jnp.where(finite, long, doubted), place),
        jnp.where(finite, mean + rate * (bounded - mean), mean),
        jnp.where(finite, trees.one_more(count), count),
    )
    return Visit(place, in_range, usable), new


def require_num_functions(num_functions: Any) -> None:
    """Raises ValueError unless the number of functions is an integer >= 1."""
    checks.require_integer("num_functions", num_functions, 1)
    if not isinstance(num_functions, numbers.Integral):
        raise ValueError(
            f"num_functions must be an integer >= 1, known before tracing, got "
            f"{num_functions!r}"
        )
