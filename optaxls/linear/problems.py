"""A model that is linear in its parameters, with its data: declared once."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls._core import checks
from optaxls.linear._losses import LOSSES


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("features", "targets", "weights", "l2", "l1"),
    meta_fields=("loss", "intercept"),
)
@dataclasses.dataclass(frozen=True)
class Problem:
    """What ``problem`` returns: a pytree, so it goes through ``jit`` and ``vmap``.

    Attributes:
      features: ``(n, d)``, one example in a row.
      targets: ``(n,)``; the two classes are -1 and 1.
      weights: ``(n,)``, of mean 1.
      l2: factor of half the squared length of the coefficients, scalar.
      l1: factor of their absolute sum, scalar.
      loss: the name of the loss.
      intercept: whether a constant is fitted too, which nothing penalises.
    """

    features: jax.Array
    targets: jax.Array
    weights: jax.Array
    l2: jax.Array
    l1: jax.Array
    loss: str
    intercept: bool


def _numbers(name: str, values: Any, dtype: Any = None) -> jax.Array:
    """Converts to floats; values that are not finite, and known, are an error."""
    # A sparse matrix of SciPy or of JAX has these, and an array has neither.
    if hasattr(values, "todense") or hasattr(values, "tocsr"):
        raise TypeError(
            f"{name} must be a dense array, got {type(values).__name__}: a compiled "
            "loop touches every coordinate in each step. Pass todense() of it, or use "
            "scikit-learn, whose steps touch the nonzero ones only"
        )
    array = jnp.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.number) and array.dtype != bool:
        raise TypeError(f"{name} must be numbers, got {array.dtype}")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {array.dtype}")
    array = array.astype(dtype or jnp.promote_types(array.dtype, jnp.float32))
    if not isinstance(array, Tracer) and not bool(jnp.all(jnp.isfinite(array))):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return array


def _labels(loss: str, targets: jax.Array) -> jax.Array:
    """The classes as -1 and 1."""
    if not isinstance(targets, Tracer):
        found = set(jnp.unique(targets).tolist())
        if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
            some = sorted(found)[:4]
            raise ValueError(f"targets of {loss} must be 0 and 1, or -1 and 1: {some}")
    return jnp.where(targets > 0, 1, -1).astype(targets.dtype)


def _relative(weights: Any, like: jax.Array) -> jax.Array:
    """The weights of the examples, divided by their mean."""
    if weights is None:
        return jnp.ones_like(like)
    found = _numbers("weights", weights, like.dtype)
    if found.shape != like.shape:
        raise ValueError(f"weights must have shape {like.shape}, got {found.shape}")
    if not isinstance(found, Tracer) and bool(
        jnp.any(found < 0) | (jnp.sum(found) == 0)
    ):
        raise ValueError("weights must be >= 0, and not all of them 0")
    return found / jnp.mean(found)


def problem(
    features: Any,
    targets: Any,
    *,
    loss: str,
    l2: Any = 0.0,
    l1: Any = 0.0,
    intercept: bool = True,
    weights: Any = None,
) -> Problem:
    r"""Declares a model that is linear in its parameters, for the solvers beside it.

    The objective is :math:`F(w, b) = \frac{1}{\sum_i s_i}\sum_i s_i\,\phi(x_i^\top w +
    b, y_i) + \frac{\lambda_2}{2}\|w\|_2^2 + \lambda_1\|w\|_1` with the features
    :math:`x_i`, the targets :math:`y_i`, the weights :math:`s_i`, :math:`\lambda_2`
    (``l2``) and :math:`\lambda_1` (``l1``). The losses :math:`\phi(z, y)` are

    - ``logistic``: :math:`\log(1 + e^{-yz})`, with two classes;
    - ``squared``: :math:`(z - y)^2 / 2`;
    - ``huber``: the same up to a distance of 1, and linear beyond;
    - ``hinge``: :math:`\max(0, 1 - yz)`, with two classes. It has a kink, and solvers
      that follow gradients refuse it.

    Args:
      features: ``(n, d)``, dense and finite. float64 stays float64 where JAX has it,
        and all else becomes float32 at least.
      targets: ``(n,)``, finite. Classes are 0 and 1, or -1 and 1.
      loss: one of the four names.
      l2: >= 0, loss units over squared coefficients. scikit-learn's ``C`` is
        ``1 / (n * l2)``. It may be traced, so that ``vmap`` solves for several.
      l1: >= 0, loss units over coefficients; it may be traced too.
      intercept: whether to fit :math:`b`. Nothing penalises it. Without it :math:`b`
        is 0.
      weights: ``(n,)``, >= 0; only their ratios matter. A weight of 2 is worth the same
        example twice. None weighs all alike.

    Returns:
      A ``Problem``.

    Raises:
      ValueError: an argument lies outside its range, or arrays do not fit together.
      TypeError: an array is sparse, or does not hold real numbers.

    Cost:
      A pass over the data, to check them.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls import linear
      >>> x = jnp.array([[0.0], [1.0], [2.0]])
      >>> line = linear.problem(x, 3 * x[:, 0] + 1, loss="squared")
      >>> fit = linear.saga(line, tolerance=1e-5)
      >>> bool(abs(fit.coefficients[0] - 3) < 1e-3), bool(abs(fit.intercept - 1) < 1e-3)
      (True, True)

    Reference:
      Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 2009,
      sections 3.4 and 4.4.
    """
    checks.require_choice("loss", loss, LOSSES)
    checks.require("l2", l2, "[0, inf)")
    checks.require("l1", l1, "[0, inf)")
    checks.require_choice("intercept", intercept, (True, False))
    rows = _numbers("features", features)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"features must have shape (n, d), got {rows.shape}")
    wanted = _numbers("targets", targets, rows.dtype)
    if wanted.shape != rows.shape[:1]:
        raise ValueError(
            f"targets must have shape {rows.shape[:1]}, got {wanted.shape}"
        )
    if LOSSES[loss].has_labels:
        wanted = _labels(loss, wanted)
    return Problem(
        rows,
        wanted,
        _relative(weights, wanted),
        jnp.asarray(l2, rows.dtype),
        jnp.asarray(l1, rows.dtype),
        loss,
        bool(intercept),
    )
