"""Solves ``(B + tau I) d = g`` for a direction, also where that is not definite."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.directions.curvature._products import Product, Reals, matrix_of
from optaxls.parts.searches._loop import while_loop


class Solution(NamedTuple):
    """A direction of ascent, and what was met on the way to it.

    ``curvature`` is ``d^T B d``, without the damping. ``num_products`` counts products
    with B, int32. ``negative_curvature`` says that the damped B was not found to be
    positive definite.
    """

    direction: Reals
    curvature: jax.Array
    num_products: jax.Array
    negative_curvature: jax.Array


def _plus(left: Reals, factor: jax.Array | int, other: Reals) -> Reals:
    return [a + factor * b for a, b in zip(left, other, strict=True)]


# ``(product, gradient, tau, eps) -> solution``, with ``eps`` the rounding error of each
# leaf, relative, in the dtype of the params.
Solve = Callable[[Product, Reals, jax.Array, list[float]], Solution]


class _Progress(NamedTuple):
    """Conjugate gradients after some steps; ``bend`` is ``p^T B p`` of the last."""

    count: jax.Array
    solution: Reals
    residual: Reals
    along: Reals
    sqnorm: jax.Array
    bend: jax.Array
    negative: jax.Array


def _steered(progress: _Progress, right: Reals, dtype: Any) -> tuple[Reals, jax.Array]:
    """The last direction of conjugate gradients, scaled, and the square of its factor.

    Its length is 1 / ||g||_1 as in the authors' code, and 1 at most: that quotient
    grows without bound toward a saddle.
    """
    along = progress.along
    size = sum((jnp.sum(jnp.abs(leaf), dtype=dtype) for leaf in right), 0)
    length = 1 / jnp.maximum(size, 1)
    norm = jnp.sqrt(trees.sqnorm(along, dtype))
    sign = jnp.where(trees.inner(along, right, dtype) < 0, -1, 1)
    factor = sign * length / jnp.where(norm > 0, norm, 1)
    return [factor * leaf for leaf in along], factor**2


def conjugate_gradients(
    product: Product,
    right: Reals,
    damping: jax.Array,
    max_steps: jax.Array | int,
    forcing: jax.Array | float,
) -> Solution:
    """Solves from 0 until the residual is small, or curvature is not positive.

    Not that of ``jax.scipy``: un-jitted, it compiles anew at every optimizer step.
    """
    dtype = right[0].dtype
    start_sqnorm = trees.sqnorm(right, dtype)
    # The residual may be min(forcing, sqrt(norm)) times the norm of g.
    share = jnp.minimum(jnp.asarray(forcing, dtype), start_sqnorm**0.25)
    smallest = jnp.maximum(share, jnp.finfo(dtype).eps) ** 2 * start_sqnorm

    def body(carry: _Progress) -> _Progress:
        square = trees.sqnorm(carry.along, dtype)
        # Along a vector of length 1: in float16 a product of large ones overflows.
        norm = jnp.sqrt(square)
        image = product([leaf / norm for leaf in carry.along])
        image = [norm * leaf for leaf in image]
        bend = trees.inner(carry.along, image, dtype)
        damped = bend + damping * square
        negative = damped <= 0
        step = jnp.where(negative, 0, carry.sqnorm / jnp.where(negative, 1, damped))
        solution = _plus(carry.solution, step, carry.along)
        residual = _plus(carry.residual, -step, _plus(image, damping, carry.along))
        sqnorm = trees.sqnorm(residual, dtype)
        # Where curvature is negative, the direction stays as it is.
        new, old = 1 - negative, jnp.where(negative, 1, sqnorm / carry.sqnorm)
        pairs = zip(residual, carry.along, strict=True)
        along = [new * r + old * p for r, p in pairs]
        return _Progress(
            carry.count + 1, solution, residual, along, sqnorm, bend, negative
        )

    def goes_on(carry: _Progress) -> jax.Array:
        unsolved = (carry.count < max_steps) & (carry.sqnorm > smallest)
        return unsolved & ~carry.negative

    zero = jnp.zeros_like(start_sqnorm)
    zeros = [jnp.zeros_like(leaf) for leaf in right]
    none, no = zero.astype(jnp.int32), zero.astype(bool)
    start = _Progress(none, zeros, right, right, start_sqnorm, zero, no)
    return _solution(while_loop(goes_on, body, start), right, damping)


def _solution(end: _Progress, right: Reals, damping: jax.Array) -> Solution:
    """The point where conjugate gradients ended, or the negative curvature met."""
    dtype = right[0].dtype
    # d^T (B + tau I) d = d^T (g - r): no further product.
    solved = trees.inner(end.solution, _plus(right, -1, end.residual), dtype)
    bend = solved - damping * trees.sqnorm(end.solution, dtype)
    steered, factor = _steered(end, right, dtype)
    pairs = zip(steered, end.solution, strict=True)
    return Solution(
        [jnp.where(end.negative, along, found) for along, found in pairs],
        jnp.where(end.negative, factor * end.bend, bend),
        end.count,
        end.negative,
    )


def by_products(max_steps: Any, forcing: Any) -> Solve:
    """Conjugate gradients with these numbers, which are checked."""
    checks.require_integer("max_cg_steps", max_steps, 1)
    checks.require("forcing", forcing, "[0, 1)")

    def solve(
        product: Product, right: Reals, damping: jax.Array, eps: list[float]
    ) -> Solution:
        del eps
        return conjugate_gradients(product, right, damping, max_steps, forcing)

    return solve


def _raised(matrix: jax.Array, right: jax.Array, damping: jax.Array) -> jax.Array:
    """Divides by eigenvalues that are raised to the size of the most negative one.

    That size tells how far the quadratic model is off: no smaller curvature is trusted.
    What has no curvature at all, and no damping, is left out.
    """
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    sizes = jnp.maximum(eigenvalues, -eigenvalues[0]) + damping
    kept = sizes > len(sizes) * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
    shares = jnp.matmul(vectors.T, right, precision="highest")
    shares = jnp.where(kept, shares / jnp.where(kept, sizes, 1), 0)
    return jnp.matmul(vectors, shares, precision="highest")


def dense(
    product: Product, right: Reals, damping: jax.Array, eps: list[float]
) -> Solution:
    """Solves by the factors of a matrix, by its eigenvalues where it is indefinite."""
    flat, unravel = trees.raveled(right)
    identity = jnp.eye(len(flat), dtype=flat.dtype)
    columns = matrix_of(product, right)
    matrix = (columns + columns.T) / 2
    if max(eps) > jnp.finfo(matrix.dtype).eps:
        # In bfloat16 columns are off by this much: no smaller curvature is trusted.
        pairs = zip(right, eps, strict=True)
        errors = trees.raveled([jnp.full_like(leaf, one) for leaf, one in pairs])[0]
        matrix += jnp.diag(errors * jnp.linalg.norm(matrix))
    # Half of the damping decides, so that the rest bounds the direction's length.
    tested = jnp.linalg.cholesky(matrix + damping / 2 * identity)
    indefinite = jnp.all(jnp.isfinite(matrix)) & ~jnp.all(jnp.isfinite(tested))

    def definite() -> jax.Array:
        factor = jnp.linalg.cholesky(matrix + damping * identity)
        return jax.scipy.linalg.cho_solve((factor, True), flat)

    found = trees.either(indefinite, lambda: _raised(matrix, flat, damping), definite)
    image = jnp.matmul(matrix, found, precision="highest")
    count = jnp.full_like(indefinite, len(flat), dtype=jnp.int32)
    return Solution(unravel(found), found @ image, count, indefinite)
