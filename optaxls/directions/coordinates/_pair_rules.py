"""Which coordinates move together, and how far, such that their sum stays the same."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# The product of the loss's Hessian with a vector.
Times = Callable[[jax.Array], jax.Array]


class Rooms(NamedTuple):
    """The gradient, and how far each coordinate may go down and up; none is < 0."""

    grad: jax.Array
    down: jax.Array
    up: jax.Array

    @property
    def gap(self) -> jax.Array:
        """The largest gradient that can go down less the smallest that can go up."""
        difference = jnp.max(self.falls, initial=-jnp.inf) - jnp.min(
            self.rises, initial=jnp.inf
        )
        return jnp.maximum(difference, 0)

    @property
    def falls(self) -> jax.Array:
        """The gradient of those that can go down, -inf of the others."""
        return jnp.where(self.down > 0, self.grad, -jnp.inf)

    @property
    def rises(self) -> jax.Array:
        """The gradient of those that can go up, inf of the others."""
        return jnp.where(self.up > 0, self.grad, jnp.inf)


def _moved_by(mass: jax.Array, order: jax.Array, room: jax.Array) -> jax.Array:
    """How far each coordinate goes if a mass fills the rooms in an order."""
    ordered = room[order]
    before = jnp.cumsum(ordered) - ordered
    return jnp.zeros_like(room).at[order].set(jnp.clip(mass - before, 0, ordered))


def _steepest(rooms: Rooms, curvature: jax.Array) -> jax.Array:
    """Minimises ``<g, d> + (curvature / 8) ||d||_1^2`` on the sum and the bounds.

    Mass goes from the largest gradients to the smallest ones, as long as the difference
    of the two exceeds the curvature times the mass moved so far. Between two points at
    which a room is full, that difference is constant.
    """
    fall, rise = jnp.argsort(-rooms.falls), jnp.argsort(rooms.rises)
    full = jnp.cumsum(rooms.down[fall]), jnp.cumsum(rooms.up[rise])
    ends = jnp.sort(jnp.concatenate(full))
    starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    last = rooms.grad.size - 1
    first, second = (
        jnp.minimum(jnp.searchsorted(sums, starts, side="right"), last) for sums in full
    )
    gaps = rooms.falls[fall[first]] - rooms.rises[rise[second]]
    inside = (starts < full[0][-1]) & (starts < full[1][-1]) & (gaps > 0)
    mass = jnp.max(jnp.where(inside, jnp.minimum(ends, gaps / curvature), 0), initial=0)
    up = _moved_by(mass, rise, rooms.up)
    return up - _moved_by(mass, fall, rooms.down)


def _positive(curvature: jax.Array) -> jax.Array:
    """At least what can be divided by: a pair without curvature goes to its bound."""
    return jnp.maximum(curvature, jnp.finfo(curvature.dtype).tiny ** 0.5)


def by_gs1(rooms: Rooms, times: Times) -> jax.Array:
    """GS-1 with the curvature of the steepest pair, cut to the minimum along it."""
    pair = jnp.zeros_like(rooms.grad).at[jnp.argmax(rooms.falls)].add(-1)
    pair = pair.at[jnp.argmin(rooms.rises)].add(1)
    curvature = _positive(pair @ times(pair))
    # Finite rooms: more mass than this is never moved.
    most = rooms.gap / curvature
    rooms = rooms._replace(
        down=jnp.minimum(rooms.down, most), up=jnp.minimum(rooms.up, most)
    )
    found = _steepest(rooms, curvature)
    least = -(rooms.grad @ found) / _positive(found @ times(found))
    return jnp.clip(least, 0, 1) * found


def by_gain(rooms: Rooms, times: Times, curvatures: jax.Array) -> jax.Array:
    """The best pair that holds the steepest coordinate of one side or the other."""
    one = jnp.ones((), rooms.grad.dtype)
    fall, rise = jnp.argmax(rooms.falls), jnp.argmin(rooms.rises)

    def partners(place: jax.Array, gaps: jax.Array, room: jax.Array) -> Any:
        column = times(jnp.zeros_like(rooms.grad).at[place].set(one))
        bend = _positive(curvatures + curvatures[place] - 2 * column)
        mass = jnp.minimum(gaps / bend, room)
        gains = jnp.where((gaps > 0) & (room > 0), (gaps - bend * mass / 2) * mass, 0)
        best = jnp.argmax(gains)
        return best, mass[best], gains[best]

    falls_to = partners(fall, rooms.falls[fall] - rooms.rises,
                        jnp.minimum(rooms.down[fall], rooms.up))  # fmt: skip
    rises_from = partners(rise, rooms.falls - rooms.rises[rise],
                          jnp.minimum(rooms.up[rise], rooms.down))  # fmt: skip
    first = falls_to[2] >= rises_from[2]
    gain = jnp.maximum(falls_to[2], rises_from[2])
    mass = jnp.where(gain > 0, jnp.where(first, falls_to[1], rises_from[1]), 0)
    giver, taker = (
        jnp.where(first, fall, rises_from[0]),
        jnp.where(first, falls_to[0], rise),
    )
    return jnp.zeros_like(rooms.grad).at[giver].add(-mass).at[taker].add(mass)


def rooms_of(grad: jax.Array, at: jax.Array, low: Any, high: Any) -> Rooms:
    """How far each coordinate may go; what rounding hides is no room."""
    rounding = 4 * jnp.finfo(at.dtype).eps
    finite = (
        jnp.where(jnp.isfinite(bound), jnp.abs(bound), 0) for bound in (low, high)
    )
    least = rounding * jnp.maximum(jnp.abs(at), jnp.maximum(*finite))
    down, up = (jnp.where(room > least, room, 0) for room in (at - low, high - at))
    return Rooms(grad, down, up)
