"""Penalties on the params, by their proximal operators."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls.parts.proximal._leaves import (
    require_numbers,
    total,
    weighted,
)
from optaxls.parts.types import Params, Proximal


def _soft(leaf: jax.Array, threshold: Any) -> jax.Array:
    """``leaf`` shortened by ``threshold``, entry by entry; exactly 0 below it."""
    if jnp.iscomplexobj(leaf):
        return _shortened(leaf, jnp.abs(leaf), threshold)
    return leaf - jnp.clip(leaf, -threshold, threshold)


def _shortened(leaf: jax.Array, length: jax.Array, threshold: Any) -> jax.Array:
    """``leaf`` of that ``length`` shortened by ``threshold``; 0 where it is shorter."""
    longer = length > threshold
    factor = 1 - threshold / jnp.where(longer, length, 1)
    # NaN stays NaN: it is neither longer nor shorter.
    return jnp.where(length <= threshold, 0, factor * leaf).astype(leaf.dtype)


def l1(weight: Any) -> Proximal:
    r"""The penalty :math:`h(w) = \sum_j \lambda_j |w_j|`, which makes params sparse.

    :math:`\operatorname{prox}_{\eta h}(w)_j = \operatorname{sign}(w_j)
    \max(|w_j| - \eta\lambda_j, 0)`.

    Args:
      weight: lambda >= 0, loss units per unit of the params; a number, an array that
        broadcasts against the leaves, or a prefix of the tree of params. Parts of
        weight 0 are not penalised.

    Returns:
      A ``Proximal`` for ``along_prox``; separable.

    Raises:
      ValueError: a weight lies outside its range.

    Cost:
      One pass over the penalised params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> penalty = optaxls.prox.l1({"w": 0.5, "b": 0.0})
      >>> params = {"w": jnp.array([3.0, -0.25]), "b": jnp.array(1.0)}
      >>> penalty.prox(params, 1.0)["w"]
      Array([2.5, 0. ], dtype=float32)
      >>> print(penalty.penalty(params))
      1.625

    Reference:
      Daubechies, Defrise, De Mol 2004; Beck and Teboulle 2009.
    """
    require_numbers("weight", weight, "[0, inf)")
    return weighted(weight, _soft, jnp.abs, separable=True)


def l2(weight: Any) -> Proximal:
    r"""The penalty :math:`h(w) = \frac12 \sum_j \lambda_j w_j^2` (ridge).

    :math:`\operatorname{prox}_{\eta h}(w)_j = w_j / (1 + \eta\lambda_j)`.

    Args:
      weight: lambda >= 0, loss units per squared unit of the params; a number, an
        array, or a prefix of the tree of params. Parts of weight 0 are not penalised.

    Returns:
      A ``Proximal`` for ``along_prox``; separable.

    Raises:
      ValueError: a weight lies outside its range.

    Cost:
      One pass over the penalised params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.l2(1.0).prox(jnp.array([3.0]), 0.5)
      Array([2.], dtype=float32)

    Reference:
      Parikh and Boyd, Proximal Algorithms, 2014, section 6.1.1.
    """
    require_numbers("weight", weight, "[0, inf)")
    return weighted(
        weight,
        lambda leaf, threshold: leaf / (1 + threshold),
        lambda leaf: 0.5 * jnp.abs(leaf) ** 2,
        separable=True,
    )


def group_l2(weight: Any, axis: int | tuple[int, ...]) -> Proximal:
    r"""The penalty :math:`h(w) = \lambda \sum_g \|w_g\|`, which sets groups to 0.

    :math:`\operatorname{prox}_{\eta h}(w)_g = \max(1 - \eta\lambda/\|w_g\|, 0)\, w_g`.
    The entries of a group differ by their index along ``axis`` only. With ``axis=1`` on
    a kernel of shape (inputs, outputs), the groups are the inputs.

    Args:
      weight: lambda >= 0, loss units per unit of the params; a number, or a prefix of
        the tree of params. Parts of weight 0 are not penalised.
      axis: the axis or axes of each leaf over which the norm of a group is taken.

    Returns:
      A ``Proximal`` for ``along_prox``.

    Raises:
      ValueError: a weight lies outside its range. TypeError: ``axis`` is no integer.

    Cost:
      Two passes over the penalised params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> kernel = jnp.array([[3.0, 4.0], [0.3, 0.4]])
      >>> optaxls.prox.group_l2(1.0, axis=1).prox(kernel, 1.0)
      Array([[2.4, 3.2],
             [0. , 0. ]], dtype=float32)

    Reference:
      Yuan and Lin 2006; Parikh and Boyd 2014, section 6.5.4.
    """
    require_numbers("weight", weight, "[0, inf)")
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        raise TypeError(f"axis must be an integer or a tuple of these, got {axis!r}")

    def length(leaf: jax.Array) -> jax.Array:
        squares = jnp.real(leaf * jnp.conj(leaf))
        return jnp.sqrt(jnp.sum(squares, axis=axes, keepdims=True))

    def leaf_prox(leaf: jax.Array, threshold: Any) -> jax.Array:
        return _shortened(leaf, length(leaf), threshold)

    return weighted(weight, leaf_prox, length)


def nuclear(weight: Any) -> Proximal:
    r"""The penalty :math:`h(w) = \lambda \sum_i \sigma_i(w)`, which lowers the rank.

    The proximal operator shortens the singular values :math:`\sigma_i` by
    :math:`\eta\lambda`, those below it to 0.

    Args:
      weight: lambda >= 0, loss units per unit of the params; a number, or a prefix of
        the tree of params. Penalised leaves are matrices, or stacks of these along
        leading axes. Parts of weight 0 are not penalised.

    Returns:
      A ``Proximal`` for ``along_prox``.

    Raises:
      ValueError: a weight lies outside its range. TypeError, when called: a penalised
      leaf is no matrix.

    Cost:
      One singular value decomposition per matrix. Explicit axes of a mesh must not
      split a matrix; JAX raises an error then.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> penalty = optaxls.prox.nuclear(1.0)
      >>> print(jnp.round(penalty.prox(jnp.diag(jnp.array([3.0, 0.5])), 1.0), 4))
      [[2. 0.]
       [0. 0.]]

    Reference:
      Cai, Candes, Shen 2010, arXiv:0810.3286, Theorem 2.1.
    """
    require_numbers("weight", weight, "[0, inf)")

    def leaf_prox(leaf: jax.Array, threshold: Any) -> jax.Array:
        _require_matrix(leaf)
        left, values, right = jnp.linalg.svd(leaf, full_matrices=False)
        return (left * _soft(values, threshold)[..., None, :]) @ right

    def values(leaf: jax.Array) -> jax.Array:
        _require_matrix(leaf)
        return jnp.linalg.svd(leaf, compute_uv=False)

    return weighted(weight, leaf_prox, values)


def _require_matrix(leaf: jax.Array) -> None:
    if leaf.ndim < 2:
        raise TypeError(
            f"nuclear: a penalised leaf must be a matrix, got the shape {leaf.shape}. "
            "Give the others a weight of 0 by a prefix of the params."
        )


def _is_part(node: Any) -> bool:
    return node is None or isinstance(node, Proximal)


def _require_parts(found: list[Any]) -> None:
    for part in found:
        if not _is_part(part):
            raise TypeError(
                f"by_part: each part must be a Proximal or None, got {part!r}"
            )
    if all(part is None for part in found):
        raise TypeError("by_part: at least one part must have a Proximal")


def by_part(parts: Any) -> Proximal:
    """A penalty or set of its own for each part of the params.

    Args:
      parts: a prefix of the tree of params, with a ``Proximal`` or None for each part.
        None leaves a part free.

    Returns:
      A ``Proximal`` for ``along_prox``. It is a set if all of its parts are, and then
      also for ``along_projection``.

    Raises:
      TypeError: a part is neither a ``Proximal`` nor None, or there is none.

    Cost:
      That of the parts.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> both = optaxls.prox.by_part(
      ...     {"w": optaxls.prox.l1(1.0), "p": optaxls.prox.simplex(), "b": None})
      >>> params = {"w": jnp.array([0.5]), "p": jnp.ones(4), "b": jnp.array(9.0)}
      >>> print(both.prox(params, 1.0)["p"], both.prox(params, 1.0)["b"])
      [0.25 0.25 0.25 0.25] 9.0

    Reference:
      Parikh and Boyd 2014, section 2.1 (separable sums).
    """

    found, structure = jax.tree.flatten(parts, is_leaf=_is_part)
    _require_parts(found)
    given = [part for part in found if part is not None]

    def moved(functions: list[Any], params: Params, *arguments: Any) -> Params:
        """Each part by its own function; what has none is as it was."""
        rows = zip(functions, structure.flatten_up_to(params), *arguments, strict=True)
        pieces = [
            piece if function is None else function(piece, *more)
            for function, piece, *more in rows
        ]
        return jax.tree.unflatten(structure, pieces)

    def functions_of(name: str) -> list[Any]:
        return [getattr(part, name, None) for part in found]

    def prox(params: Params, step_size: Any) -> Params:
        sizes = [step_size] * len(found)
        if jax.tree.structure(step_size) == jax.tree.structure(params):
            sizes = structure.flatten_up_to(step_size)
        return moved(functions_of("prox"), params, sizes)

    def terms(params: Params) -> list[Any]:
        return [
            part.penalty(piece) if part.terms is None else part.terms(piece)
            for part, piece in zip(found, structure.flatten_up_to(params), strict=True)
            if part is not None and not part.is_set
        ]

    def all_of(name: str) -> Callable[[Params], Params] | None:
        functions = functions_of(name)
        return functools.partial(moved, functions) if any(functions) else None

    return Proximal(
        prox,
        lambda params: total(terms(params), params),
        terms,
        domain=all_of("domain"),
        bounds=all_of("bounds"),
        is_set=all(part.is_set for part in given),
        separable=all(part.separable for part in given),
    )
