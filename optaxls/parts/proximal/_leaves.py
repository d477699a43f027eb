"""Proximal operators that act on every leaf of the params by itself."""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls._core import checks, trees
from optaxls.parts.types import Params, Proximal


def known_range(leaf: Any) -> tuple[float, float] | None:
    """The least and the largest entry of a number or array; None if it is traced.

    Both are NaN if an entry is.
    """
    if isinstance(leaf, Tracer):
        return None
    with jax.ensure_compile_time_eval():
        array = jnp.ravel(jnp.asarray(leaf))
        return (float(jnp.min(array)), float(jnp.max(array))) if array.size else None


def require_numbers(name: str, prefix: Any, interval: str) -> None:
    """Raises ValueError unless all concrete numbers in ``prefix`` lie in it."""
    for leaf in jax.tree.leaves(prefix):
        if isinstance(leaf, (numbers.Number, str)):
            checks.require(name, leaf, interval)
            continue
        for number in known_range(leaf) or ():
            checks.require(name, number, interval)


def spread(prefix: Any, params: Params) -> list[Any]:
    """Returns, for each leaf of ``params``, the leaf of the prefix that it lies in."""
    return jax.tree.leaves(jax.tree.broadcast(prefix, params))


def _sizes(step_size: Any, params: Params) -> list[Any]:
    if jax.tree.structure(step_size) == jax.tree.structure(params):
        return jax.tree.leaves(step_size)
    return [step_size] * len(jax.tree.leaves(params))


def _wide(leaf: Any) -> jax.Array:
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def _is_off(weight: Any) -> bool:
    """Whether a weight is known to be 0: then its leaves cost no operation."""
    return isinstance(weight, numbers.Number) and weight == 0


def weighted(
    prefix: Any,
    leaf_prox: Callable[[jax.Array, Any], jax.Array],
    leaf_terms: Callable[[jax.Array], jax.Array],
    separable: bool = False,
) -> Proximal:
    """A penalty of weighted terms, from that of a single leaf with weight 1.

    ``leaf_prox(leaf, threshold)`` has ``step_size * weight`` as threshold. The weight
    multiplies the terms that ``leaf_terms`` gives.
    """

    def prox(params: Params, step_size: Any) -> Params:
        leaves, structure = jax.tree.flatten(params)
        rows = zip(
            leaves, spread(prefix, params), _sizes(step_size, params), strict=True
        )
        moved = [
            leaf
            if _is_off(weight) or not trees.is_inexact(leaf)
            else leaf_prox(_wide(leaf), size * weight).astype(jnp.result_type(leaf))
            for leaf, weight, size in rows
        ]
        return jax.tree.unflatten(structure, moved)

    def terms(params: Params) -> list[jax.Array]:
        rows = zip(jax.tree.leaves(params), spread(prefix, params), strict=True)
        return [
            weight * leaf_terms(_wide(leaf))
            for leaf, weight in rows
            if trees.is_inexact(leaf) and not _is_off(weight)
        ]

    return Proximal(prox, lambda params: total(terms(params), params), terms,
                    separable=separable)  # fmt: skip


def total(terms: Any, params: Params) -> jax.Array:
    """The sum of all entries of ``terms``, float32 or wider."""
    dtype = trees.scalar_dtype(params)
    sums = [jnp.sum(leaf, dtype=dtype) for leaf in jax.tree.leaves(terms)]
    return sum(sums, jnp.zeros((), dtype))


def projected(
    leaf_project: Callable[..., jax.Array], *prefixes: Any, separable: bool = False
) -> Proximal:
    """A set, from the projection ``(leaf, *numbers) -> leaf`` of a single leaf."""

    def project(params: Params) -> Params:
        leaves, structure = jax.tree.flatten(params)
        given = [spread(prefix, params) for prefix in prefixes]
        rows = zip(leaves, *given, strict=True)
        moved = [
            leaf_project(_wide(leaf), *numbers).astype(jnp.result_type(leaf))
            if trees.is_inexact(leaf)
            else leaf
            for leaf, *numbers in rows
        ]
        return jax.tree.unflatten(structure, moved)

    return as_set(project, separable)


def as_set(project: Callable[[Params], Params], separable: bool = False) -> Proximal:
    """The set onto which ``project`` projects."""
    return Proximal(
        lambda params, step_size=1.0: project(params),
        no_penalty,
        domain=project,
        bounds=project if separable else None,
        is_set=True,
        separable=separable,
    )


def no_penalty(params: Params) -> jax.Array:
    """The penalty of a set, 0: the projection keeps the params inside."""
    return jnp.zeros((), trees.scalar_dtype(params))
