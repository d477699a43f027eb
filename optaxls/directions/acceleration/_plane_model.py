"""The least point of a loss in a plane, where only two numbers are unknown."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._engine.origin import make_origin
from optaxls._engine.parts import Parts, init_memories
from optaxls._engine.step import take_step
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.gates import always
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches._loop import while_loop
from optaxls.parts.searches.backtracking import backtracking

# ``two numbers -> loss``, both in one array.
PlaneLoss = Callable[[jax.Array], jax.Array]


def newton_step(slopes: jax.Array, hessian: jax.Array) -> jax.Array:
    """Minus the inverse of a 2 x 2 Hessian times the slopes, always downhill.

    Curvatures count by their absolute value. A direction without any curvature is left
    out: nothing tells how far to go there. That is so for a second vector that is
    zero or parallel to the first.
    """
    own = jnp.abs(jnp.diagonal(hessian))
    # Curvatures of 1 along both axes, so that a flat one is not lost in rounding.
    scale = jax.lax.rsqrt(jnp.where(own > 0, own, 1))
    (a, b), (_, e) = hessian * scale * scale[:, None]
    # Of a multiple of the identity any axes will do; arctan2 has no derivative there.
    diagonal = (b == 0) & (a == e)
    angle = jnp.where(diagonal, 0, jnp.arctan2(2 * b, a - e + diagonal) / 2)
    c, s = jnp.cos(angle), jnp.sin(angle)
    vectors = jnp.stack([jnp.stack([c, s]), jnp.stack([-s, c])])
    curvatures = jnp.stack(
        [a * c**2 + 2 * b * c * s + e * s**2, a * s**2 - 2 * b * c * s + e * c**2]
    )
    sizes = jnp.abs(curvatures)
    curved = sizes > 16 * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
    inverse = jnp.where(curved, 1 / jnp.where(curved, sizes, 1), 0)
    # Sums of products, not matrix products, which lose digits on some devices.
    along = jnp.sum(vectors * (scale * slopes), axis=1)
    return -scale * jnp.sum((inverse * along)[:, None] * vectors, axis=0)


def _derivatives(loss: PlaneLoss, at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slopes along both axes, and the Hessian: two products with it."""
    gradient = jax.grad(loss)
    axes = jnp.eye(2, dtype=at.dtype)
    slopes, first = jax.jvp(gradient, (at,), (axes[0],))
    _, second = jax.jvp(gradient, (at,), (axes[1],))
    mixed = (first[1] + second[0]) / 2
    return slopes, jnp.stack(
        [jnp.stack([first[0], mixed]), jnp.stack([mixed, second[1]])]
    )


def of_quadratic_model(loss: PlaneLoss, start: jax.Array) -> jax.Array:
    """The least point of the quadratic model at ``start``."""
    return start + newton_step(*_derivatives(loss, start))


class _Point(NamedTuple):
    count: jax.Array
    at: jax.Array
    goes_on: jax.Array


_PARTS = Parts(
    armijo(1e-4),
    constant(1.0),
    backtracking(0.5, max_trials=25),
    along_direction,
    always(),
    0.0,
)


def of_loss(loss: PlaneLoss, start: jax.Array, max_steps: int) -> jax.Array:
    """The least point of the loss itself, by Newton steps with a line search.

    It ends where a step promises less than the rounding of the loss.
    """

    def body(point: _Point) -> _Point:
        value = loss(point.at)
        slopes, hessian = _derivatives(loss, point.at)
        direction = newton_step(slopes, hessian)
        origin = make_origin(point.at, slopes, direction, value)
        step = take_step(loss, origin, init_memories(_PARTS, point.at), _PARTS)
        promised = -origin.slope > jnp.finfo(value.dtype).eps * jnp.abs(value)
        moves = step.outcome.accepted & promised
        at = jnp.where(step.outcome.accepted, point.at + step.updates, point.at)
        return _Point(point.count + 1, at, moves)

    none = jnp.zeros((), jnp.int32)
    begun = _Point(none, start, jnp.ones((), bool))
    end = while_loop(lambda p: p.goes_on & (p.count < max_steps), body, begun)
    return end.at


def moved(tree: Any, vectors: tuple[Any, Any], by: jax.Array) -> Any:
    """``tree`` plus two vectors times the two numbers, in the dtypes of ``tree``."""

    def leaf(w: Any, u: Any, v: Any) -> Any:
        if not trees.is_inexact(w):
            return w
        kind = jnp.promote_types(by.dtype, jnp.result_type(w))
        shift = by[0] * jnp.asarray(u, kind) + by[1] * jnp.asarray(v, kind)
        return (w + shift).astype(jnp.result_type(w))

    return jax.tree.map(leaf, tree, *vectors)
