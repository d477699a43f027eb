"""Sets that the params have to lie in, by their projections."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from optaxls._core import checks, trees
from optaxls.parts.proximal._leaves import known_range, projected, require_numbers
from optaxls.parts.types import Proximal


def _require_bounds(lower: Any, upper: Any) -> None:
    """Raises ValueError for bounds that are NaN or leave nothing between them."""
    lows, highs = jax.tree.leaves(lower), jax.tree.leaves(upper)
    for name, leaves in (("lower", lows), ("upper", highs)):
        for leaf in leaves:
            if isinstance(leaf, (str, bool)) or math.isnan(
                (known_range(leaf) or (0,))[0]
            ):
                raise ValueError(f"{name} must be a number, got {leaf!r}")
    if len(lows) == 1:
        lows = lows * len(highs)
    if len(highs) == 1:
        highs = highs * len(lows)
    # Prefixes of two different depths are not compared.
    for low, high in zip(lows, highs, strict=False):
        with jax.ensure_compile_time_eval():
            if isinstance(low, Tracer) or isinstance(high, Tracer):
                continue
            if jnp.any(jnp.asarray(low) > jnp.asarray(high)):
                raise ValueError(
                    f"lower must not be above upper, got {low!r} above {high!r}"
                )


def _require_real(leaf: jax.Array, name: str) -> jax.Array:
    if jnp.iscomplexobj(leaf):
        raise TypeError(f"{name}: the params must be real, got {leaf.dtype}")
    return leaf


def box(lower: Any, upper: Any) -> Proximal:
    r"""The set :math:`l_j \le w_j \le u_j`.

    Args:
      lower: l, units of the params; a number, an array that broadcasts against the
        leaves, or a prefix of the tree of params. ``-inf`` is no bound.
      upper: u >= l, likewise; ``inf`` is no bound.

    Returns:
      A ``Proximal`` for ``along_projection``; separable.

    Raises:
      ValueError: a bound is NaN, or ``lower`` is above ``upper``.

    Cost:
      One pass over the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.box(-1.0, jnp.inf).prox(jnp.array([-3.0, 5.0]), 1.0)
      Array([-1.,  5.], dtype=float32)

    Reference:
      Parikh and Boyd, Proximal Algorithms, 2014, section 6.2.4.
    """
    _require_bounds(lower, upper)

    def leaf_project(leaf: jax.Array, low: Any, high: Any) -> jax.Array:
        return jnp.clip(_require_real(leaf, "box"), low, high)

    return projected(leaf_project, lower, upper, separable=True)


def nonnegative() -> Proximal:
    r"""The set :math:`w_j \ge 0`.

    Returns:
      A ``Proximal`` for ``along_projection``; separable. For a part of the params use
      ``by_part``.

    Cost:
      One pass over the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.nonnegative().prox(jnp.array([-3.0, 5.0]), 1.0)
      Array([0., 5.], dtype=float32)

    Reference:
      ``optax.projections.projection_non_negative``.
    """

    def leaf_project(leaf: jax.Array) -> jax.Array:
        leaf = _require_real(leaf, "nonnegative")
        return optax.projections.projection_non_negative(leaf)

    return projected(leaf_project, separable=True)


def simplex() -> Proximal:
    r"""The set :math:`w_j \ge 0`, :math:`\sum_j w_j = 1`, for each leaf by itself.

    Returns:
      A ``Proximal`` for ``along_projection``. The sum is 1 up to rounding, and no entry
      is negative. For a part of the params use ``by_part``.

    Cost:
      It sorts each leaf, which every device of a mesh gathers.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.simplex().prox(jnp.array([2.0, 1.5, 0.0]), 1.0)
      Array([0.75, 0.25, 0.  ], dtype=float32)

    Reference:
      ``optax.projections.projection_simplex``; Duchi et al. 2008, figure 1.
    """

    def leaf_project(leaf: jax.Array) -> jax.Array:
        flat, unravel = trees.raveled([_require_real(leaf, "simplex")])
        return unravel(optax.projections.projection_simplex(flat))[0]

    return projected(leaf_project)


def l1_ball(radius: Any) -> Proximal:
    r"""The set :math:`\sum_j |w_j| \le r`, for each leaf by itself.

    Args:
      radius: r > 0, units of the params; a number, or a prefix of the tree of params.
        A leaf of radius ``inf`` is free.

    Returns:
      A ``Proximal`` for ``along_projection``. The sum is at most r up to rounding.

    Raises:
      ValueError: a radius lies outside its range.

    Cost:
      It sorts each leaf, which every device of a mesh gathers.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.l1_ball(2.0).prox(jnp.array([3.0, -2.0, 0.5]), 1.0)
      Array([ 1.5, -0.5,  0. ], dtype=float32)

    Reference:
      ``optax.projections.projection_l1_ball``; Duchi et al. 2008, figure 2.
    """
    require_numbers("radius", radius, "(0, inf]")

    def leaf_project(leaf: jax.Array, radius: Any) -> jax.Array:
        flat, unravel = trees.raveled([_require_real(leaf, "l1_ball")])
        size = jnp.sum(jnp.abs(flat))
        # An infinite radius has no simplex to project onto.
        finite = jnp.where(jnp.isfinite(radius), radius, size + 1).astype(flat.dtype)
        return unravel(optax.projections.projection_l1_ball(flat, finite))[0]

    return projected(leaf_project, radius)


def row_normalised(axis: int = -1, length: float = 1.0) -> Proximal:
    r"""The set of params whose slices along ``axis`` have the length r.

    :math:`P(w)_i = r\, w_i/\|w_i\|`. The set is not convex: a step is made only where
    it promises a decrease. Slices of 0 have no nearest point, and stay 0.

    Args:
      axis: over which the length is taken. -1 normalises the rows of a matrix.
      length: r > 0, units of the params.

    Returns:
      A ``Proximal`` for ``along_projection``. Leaves without axes are free. For a part
      of the params use ``by_part``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Two passes over the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optaxls.prox.row_normalised().prox(jnp.array([[3.0, 4.0]]), 1.0)
      Array([[0.6, 0.8]], dtype=float32)

    Reference:
      Absil, Mahony, Sepulchre 2008, section 4.1.1 (retraction on the sphere).
    """
    checks.require("length", length, "(0, inf)")
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"axis must be an integer, got {axis!r}")

    def leaf_project(leaf: jax.Array) -> jax.Array:
        if leaf.ndim == 0:
            return leaf
        squares = jnp.real(leaf * jnp.conj(leaf))
        norm = jnp.sqrt(jnp.sum(squares, axis=axis, keepdims=True))
        return leaf * (length / jnp.where(norm > 0, norm, length))

    return projected(leaf_project)
