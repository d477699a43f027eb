"""Natural-gradient paths of a Gaussian: its precision stays a sum of squares.

The precision is ``S = C C^T``, and ``C`` (``factor``) is what a trial moves. A
direction has the tangent ``C Phi`` with ``Phi`` lower triangular. So ``E = Phi +
Phi^T`` is the change of S per step size, seen from C: ``dS = C E C^T``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Displacement, InitialStep, Memory, Origin, Params, Path


class Gaussian(NamedTuple):
    """The mean, a tree like params, and the factor of the precision, (n, n)."""

    mean: Params
    factor: jax.Array


def solved(factor: jax.Array, right: jax.Array, transposed: bool) -> jax.Array:
    """``C^-1 right``, or ``C^-T right``, for lower triangular C."""
    flat = right[:, None] if right.ndim == 1 else right
    found = jax.lax.linalg.triangular_solve(
        factor, flat, left_side=True, lower=True, transpose_a=transposed
    )
    return found.reshape(right.shape)


def matmul(left: jax.Array, right: jax.Array) -> jax.Array:
    """A product of matrices in full precision, on accelerators too."""
    return jnp.matmul(left, right, precision="highest")


def _relative_change(origin: Origin) -> jax.Array:
    """``E`` of the direction, symmetric."""
    phi = solved(origin.params.factor, origin.direction.factor, False)
    return phi + phi.T


def _plus_identity(step_size: jax.Array, change: jax.Array) -> jax.Array:
    return jnp.eye(len(change), dtype=change.dtype) + step_size * change


def _linear(step_size: jax.Array, change: jax.Array) -> jax.Array:
    """K with ``K K^T = I + b E``; NaN where that is not positive definite."""
    return jnp.linalg.cholesky(_plus_identity(step_size, change))


def _sum_of_squares(step_size: jax.Array, change: jax.Array) -> jax.Array:
    """K with ``K K^T = (I + (I + b E)^2) / 2``, which is at least I / 2.

    By the triangle of both roots, stacked: squares would lose half of the digits.
    """
    identity = jnp.eye(len(change), dtype=change.dtype)
    roots = jnp.concatenate([identity, _plus_identity(step_size, change)])
    triangle = jnp.linalg.qr(roots / jnp.sqrt(2).astype(roots.dtype), mode="r")
    signs = jnp.where(jnp.diagonal(triangle) < 0, -1, 1).astype(roots.dtype)
    return (signs[:, None] * triangle).T


def tree_of(params: Params, vector: jax.Array) -> Params:
    """The inverse of ``vector_of``: in the dtype of the vector, zeros elsewhere."""
    leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, params))
    wide = [jnp.zeros_like(w, vector.dtype) for w in trees.inexact_leaves(leaves)]
    values = iter(trees.raveled(wide)[1](vector))
    return treedef.unflatten(
        [next(values) if trees.is_inexact(w) else jnp.zeros_like(w) for w in leaves]
    )


def vector_of(tree: Params, dtype: Any) -> jax.Array:
    """The trained leaves as one vector."""
    wide = [jnp.asarray(leaf, dtype) for leaf in trees.inexact_leaves(tree)]
    return trees.raveled(wide)[0]


def _displacement(
    origin: Origin, step_size: jax.Array, mean: Params, growth: jax.Array
) -> Displacement:
    factor = origin.params.factor
    return Displacement(
        Gaussian(trees.scale(step_size, mean), matmul(factor, growth) - factor),
        step_size * origin.slope,
        step_size**2 * origin.direction_sqnorm,
    )


def _by_new_precision(origin: Origin, step_size: jax.Array) -> Displacement:
    """The precision first, and the mean by the new one."""
    growth = _linear(step_size, _relative_change(origin))
    factor, mean = origin.params.factor, origin.direction.mean
    inner = matmul(factor.T, vector_of(mean, factor.dtype))
    inner = solved(growth, solved(growth, inner, False), True)
    moved = tree_of(mean, solved(factor, inner, True))
    return _displacement(origin, step_size, moved, growth)


def _by_old_precision(origin: Origin, step_size: jax.Array) -> Displacement:
    """The mean by the old precision, which then grows as a sum of squares."""
    growth = _sum_of_squares(step_size, _relative_change(origin))
    return _displacement(origin, step_size, origin.direction.mean, growth)


def _slope(origin: Origin, step_size: jax.Array) -> jax.Array:
    del step_size
    return origin.slope


# Khan et al. 2018, arXiv:1806.04854, equation 6.
von_path = Path(_by_new_precision, _slope)
# Lin, Schmidt, Khan 2020, arXiv:2002.10060, section 3.
iblr_path = Path(_by_old_precision, _slope)


def where_definite(initial_step: InitialStep) -> InitialStep:
    """Proposes 0 where ``I + b E`` is not positive definite: there is no such step."""
    propose: Callable[[Memory, Origin], jax.Array] = initial_step.propose

    def proposed(memory: Memory, origin: Origin) -> jax.Array:
        step_size = propose(memory, origin)
        growth = _linear(step_size, _relative_change(origin))
        return jnp.where(jnp.all(jnp.isfinite(growth)), step_size, 0)

    return initial_step._replace(propose=proposed)
