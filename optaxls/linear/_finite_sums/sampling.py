"""Which function to visit next, and the constants that its visits have found."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.linear._finite_sums import sums


class Sampling(NamedTuple):
    """Draws functions, and keeps estimates of their Lipschitz constants.

    Attributes:
      init: ``(bounds (N,), first constant) -> memory``.
      draw: ``(memory, two uniform numbers) -> index``, once all were visited.
      chance: ``(memory, index) ->`` the chance of that draw, times ``N``.
      known: ``(memory, index, num_visited) ->`` the constant so far.
      shrink: what ``known`` is multiplied by before a search.
      commit: ``(memory, index, constant) -> memory``, after the visit. A constant above
        its bound becomes that bound.
      overall: ``(memory, num_visited) ->`` the constant whose inverse is a step of SAG.
    """

    init: Callable[[jax.Array, jax.Array], Any]
    draw: Callable[[Any, jax.Array], jax.Array]
    chance: Callable[[Any, jax.Array], jax.Array]
    known: Callable[[Any, jax.Array, jax.Array], jax.Array]
    shrink: float
    commit: Callable[[Any, jax.Array, jax.Array], Any]
    overall: Callable[[Any, jax.Array], jax.Array]


def _any_of(number: int, uniform: jax.Array) -> jax.Array:
    return jnp.minimum((uniform * number).astype(jnp.int32), number - 1)


class _OneMemory(NamedTuple):
    """The constant for all functions, and the largest that any can have."""

    constant: jax.Array
    bound: jax.Array


def uniform(number: int) -> Sampling:
    """Draws all functions alike, with one constant that halves in ``number`` visits."""

    def commit(memory: _OneMemory, index: jax.Array, constant: jax.Array):
        del index
        return memory._replace(constant=jnp.minimum(constant, memory.bound))

    return Sampling(
        init=lambda bounds, first: _OneMemory(
            first, jnp.maximum(jnp.max(bounds), first)
        ),
        draw=lambda memory, uniforms: _any_of(number, uniforms[1]),
        chance=lambda memory, index: jnp.ones_like(memory.constant),
        known=lambda memory, index, num_visited: memory.constant,
        shrink=0.5 ** (1 / number),
        commit=commit,
        overall=lambda memory, num_visited: memory.constant,
    )


class _TreeMemory(NamedTuple):
    """Each function's constant in a tree of sums, and the largest, which decays."""

    tree: sums.Sums
    largest: jax.Array
    first: jax.Array
    bounds: jax.Array


def by_constants(number: int, l2: jax.Array) -> Sampling:
    """Draws in proportion to ``L_i + l2``, but half of the time all functions alike."""

    def share(memory: _TreeMemory) -> jax.Array:
        """The chance to draw in proportion to the constants alone."""
        mean = sums.total(memory.tree) / number
        return mean / jnp.maximum(2 * (mean + l2), jnp.finfo(mean.dtype).tiny)

    def draw(memory: _TreeMemory, uniforms: jax.Array) -> jax.Array:
        by_tree = sums.drawn(memory.tree, uniforms[1])
        by_tree = jnp.minimum(by_tree, number - 1)
        alike = _any_of(number, uniforms[1])
        return jnp.where(uniforms[0] < share(memory), by_tree, alike)

    def chance(memory: _TreeMemory, index: jax.Array) -> jax.Array:
        mean = sums.total(memory.tree) / number
        odds = memory.tree[0][index] / jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)
        return 1 + share(memory) * (odds - 1)

    def known(memory: _TreeMemory, index: jax.Array, num_visited: jax.Array):
        mean = sums.total(memory.tree) / jnp.maximum(num_visited, 1)
        # The mean is 0 before the first visit, and after visits of weight 0.
        new = jnp.where(mean > 0, mean, memory.first)
        return jnp.where(num_visited < number, new, memory.tree[0][index])

    def commit(memory: _TreeMemory, index: jax.Array, constant: jax.Array):
        constant = jnp.minimum(constant, memory.bounds[index])
        largest = jnp.maximum(memory.largest * 0.5 ** (1 / number), constant)
        tree = sums.replaced(memory.tree, index, constant)
        return memory._replace(tree=tree, largest=largest)

    def overall(memory: _TreeMemory, num_visited: jax.Array) -> jax.Array:
        mean = sums.total(memory.tree) / jnp.maximum(num_visited, 1)
        seen = num_visited / number
        least = jnp.finfo(mean.dtype).tiny
        long = 0.5 / jnp.maximum(mean + l2, least)
        short = 1 / jnp.maximum(memory.largest + l2, least)
        return 1 / (short * (1 - 0.5 * seen) + long * seen) - l2

    return Sampling(
        init=lambda bounds, first: _TreeMemory(
            sums.sums_of(jnp.zeros_like(bounds)), jnp.zeros_like(first), first, bounds
        ),
        draw=draw,
        chance=chance,
        known=known,
        shrink=0.5,
        commit=commit,
        overall=overall,
    )
