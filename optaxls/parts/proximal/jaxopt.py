"""Proximal operators and projections written for jaxopt."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.proximal._leaves import as_set, no_penalty, spread, total
from optaxls.parts.proximal.sets import nonnegative
from optaxls.parts.types import Params, Proximal


def _weighted(weights: Any, params: Params, leaf_term: Callable) -> jax.Array:
    rows = zip(jax.tree.leaves(params), spread(weights, params), strict=True)
    terms = [weight * leaf_term(leaf) for leaf, weight in rows]
    return total(terms, params)


def _number(hyperparams: Any) -> Any:
    return 1.0 if hyperparams is None else hyperparams


def _absolute(params: Params, weight: Any) -> jax.Array:
    return _weighted(_number(weight), params, jnp.abs)


def _squares(params: Params, weight: Any) -> jax.Array:
    return _weighted(_number(weight), params, lambda leaf: 0.5 * leaf**2)


def _elastic_net(params: Params, hyperparams: Any) -> jax.Array:
    weight, ratio = (1.0, 1.0) if hyperparams is None else hyperparams
    return _weighted(weight, params, lambda leaf: jnp.abs(leaf) + 0.5 * ratio * leaf**2)


def _length(params: Params, weight: Any) -> jax.Array:
    sqnorm = trees.sqnorm(params, trees.scalar_dtype(params))
    return _number(weight) * jnp.sqrt(sqnorm)


# The penalties of the proximal operators of jaxopt, by the names of its functions.
_PENALTIES = {
    "prox_none": lambda params, hyperparams: no_penalty(params),
    "prox_lasso": _absolute,
    "prox_non_negative_lasso": _absolute,
    "prox_ridge": _squares,
    "prox_non_negative_ridge": _squares,
    "prox_elastic_net": _elastic_net,
    "prox_group_lasso": _length,
}


def from_jaxopt(
    prox_fn: Callable[..., Params],
    hyperparams: Any = None,
    *,
    penalty: Callable[[Params], Any] | None = None,
) -> Proximal:
    """Wraps a proximal operator or projection that was written for jaxopt.

    Args:
      prox_fn: ``(params, hyperparams, scaling) -> params``, such as those of
        ``jaxopt.prox``; or a projection ``(params, hyperparams) -> params``, whose name
        begins with ``projection``.
      hyperparams: what is passed on as the second argument.
      penalty: ``params -> ()``, what ``prox_fn`` is the operator of, in loss units. It
        is known for ``prox_lasso`` and its kin of jaxopt, and 0 for a projection.

    Returns:
      A ``Proximal``.

    Raises:
      TypeError: ``prox_fn`` is no function. ValueError: the penalty is not known.

    Cost:
      That of ``prox_fn``.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> def prox_half(params, weight, scaling=1.0):
      ...     return params / (1 + scaling * weight)
      >>> ridge = optaxls.prox.from_jaxopt(
      ...     prox_half, 1.0, penalty=lambda w: 0.5 * jnp.sum(w**2))
      >>> ridge.prox(jnp.array([3.0]), 0.5)
      Array([2.], dtype=float32)

    Reference:
      Blondel et al. 2022, arXiv:2105.15183, section 3.
    """
    if not callable(prox_fn):
        raise TypeError(f"prox_fn must be a function, got {prox_fn!r}")
    name = getattr(prox_fn, "__name__", "")
    if name.startswith("projection"):
        return as_set(lambda params: prox_fn(params, hyperparams))
    if penalty is None:
        if name not in _PENALTIES:
            raise ValueError(
                "penalty must be given: it is not known what prox_fn is the proximal "
                f"operator of, got prox_fn={prox_fn!r}"
            )
        known = _PENALTIES[name]
        penalty = lambda params: known(params, hyperparams)  # noqa: E731

    def total_penalty(params: Params) -> jax.Array:
        return jnp.asarray(penalty(params), trees.scalar_dtype(params))

    sign = nonnegative().domain if "non_negative" in name else None
    return Proximal(
        lambda params, step_size=1.0: prox_fn(params, hyperparams, step_size),
        total_penalty,
        domain=sign,
        bounds=sign,
    )
