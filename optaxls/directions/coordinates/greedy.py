"""Directions along one coordinate: the steepest one, a random one, or in turn."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls.directions.coordinates import _places
from optaxls.directions.curvature._products import filled
from optaxls.parts.proximal._leaves import require_numbers, spread
from optaxls.parts.types import Params

_NAME = "scale_by_greedy_coordinate"


class CoordinateState(NamedTuple):
    """The random key, and the number of steps so far, int32."""

    key: jax.Array
    num_steps: jax.Array


def _require_rule(rule: str, smoothness: Any, key: Any) -> None:
    checks.require_choice("rule", rule, ("gs", "gsl", "random", "cyclic"))
    if rule == "gsl" and smoothness is None:
        raise ValueError('smoothness must be given for rule="gsl", got None')
    if rule == "random" and key is None:
        raise ValueError('key must be given for rule="random", such as 0, got None')
    require_numbers("smoothness", smoothness, "(0, inf)")


def _key_data(key: int | jax.Array) -> jax.Array:
    """The data of a key: of an integer, of a typed key, or of a key that is data."""
    if isinstance(key, int):
        return jax.random.key_data(jax.random.key(key))
    return jax.random.key_data(key) if trees.is_key(key) else key


class _Entries(NamedTuple):
    """Of one trained leaf: gradient, curvatures, and where entries are among all.

    They stay in the leaf's shape: on a mesh, one vector would be gathered.
    """

    grads: jax.Array
    curvatures: jax.Array
    places: jax.Array


def _entries(updates: Params, smoothness: Any) -> list[_Entries]:
    dtype = trees.scalar_dtype(updates)
    given = 1 if smoothness is None else smoothness
    found, count = [], 0
    for leaf, curvature in zip(
        jax.tree.leaves(updates), spread(given, updates), strict=True
    ):
        if trees.is_inexact(leaf):
            grads = jnp.asarray(leaf, dtype)
            curvatures = jnp.broadcast_to(jnp.asarray(curvature, dtype), grads.shape)
            places = count + jnp.arange(grads.size).reshape(grads.shape)
            found.append(_Entries(grads, curvatures, places))
            count += grads.size
    return found


def _chosen(
    rule: str, entries: list[_Entries], state: CoordinateState
) -> jax.Array | int:
    """The place of the coordinate; beyond the last one if the gradient has a NaN."""
    count = sum(leaf.grads.size for leaf in entries)
    if rule == "random":
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.num_steps)
        return jax.random.randint(key, (), 0, max(count, 1))
    if rule == "cyclic":
        return jnp.remainder(state.num_steps, max(count, 1))
    sizes = [jnp.abs(leaf.grads) for leaf in entries]
    if rule == "gsl":
        roots = [jnp.sqrt(leaf.curvatures) for leaf in entries]
        sizes = [size / root for size, root in zip(sizes, roots, strict=True)]
    tops = [jnp.max(size, initial=0) for size in sizes]
    largest = functools.reduce(jnp.maximum, tops, 0)
    firsts = [
        jnp.min(jnp.where(size == largest, leaf.places, count), initial=count)
        for size, leaf in zip(sizes, entries, strict=True)
    ]
    return functools.reduce(jnp.minimum, firsts, count)


def scale_by_greedy_coordinate(
    rule: str = "gs", *, smoothness: Any = None, key: int | jax.Array | None = None
) -> optax.GradientTransformation:
    r"""Keeps one coordinate of the gradient, and sets all others to 0.

    - "gs": :math:`i = \arg\max_j |g_j|` (Gauss-Southwell). On strongly convex losses it
      is up to n times as fast as a random choice.
    - "gsl": :math:`i = \arg\max_j |g_j|/\sqrt{L_j}`, the largest decrease that
      ``smoothness`` promises (Gauss-Southwell-Lipschitz).
    - "random": each with the same probability. "cyclic": one after the other.

    With ``smoothness`` the kept entry is divided by :math:`L_i`, so that the step size
    1 suits every coordinate.

    Args:
      ``rule``: "gs", "gsl", "random" or "cyclic".
      smoothness: L > 0, by coordinate: the largest second derivative along it, loss
        units per squared unit of the params. A number, an array, or a prefix of the
        tree of params. None divides by nothing.
      key: an integer or a key of ``jax.random``, for "random" only.

    Returns:
      A transformation of gradients: ``optax.scale(-1.0)`` comes behind it, and then
      ``scale_by_line_search(...)`` or ``scale_by_initial_step(constant(1.0))``.

    State:
      ``key``, the data of the key, and ``num_steps``, int32.

    Raises:
      ValueError: an argument lies outside its range, or is missing for ``rule``.
      TypeError, when called: params are complex.

    Cost:
      One pass over the gradient. The whole gradient is computed, so that this is for
      losses whose gradient is kept up to date, and for the study of such choices.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_greedy_coordinate()
      >>> g = jnp.array([1.0, -3.0, 2.0])
      >>> print(tx.update(g, tx.init(g))[0])
      [ 0. -3.  0.]
      >>> tx = optaxls.scale_by_greedy_coordinate(
      ...     "gsl", smoothness=jnp.array([1.0, 100.0, 4.0]))
      >>> print(tx.update(g, tx.init(g))[0])
      [1. 0. 0.]

    Reference:
      Nutini, Schmidt, Laradji, Friedlander, Koepke 2015, arXiv:1506.00552, sections 2
      and 6.
    """
    _require_rule(rule, smoothness, key)

    def init(params: Params) -> CoordinateState:
        data = _key_data(0 if key is None else key)
        return trees.fresh(CoordinateState(data, jnp.zeros((), jnp.int32)))

    def update(
        updates: Params, state: Any, params: Any = None
    ) -> tuple[Params, CoordinateState]:
        del params
        _places.require_real(_NAME, updates)
        entries = _entries(updates, smoothness)
        place = _chosen(rule, entries, state)

        def moved(leaf: _Entries) -> jax.Array:
            # A gradient that is not finite is passed on, for the search to see it.
            kept = (leaf.places == place) | ~jnp.isfinite(leaf.grads)
            return jnp.where(kept, leaf.grads / leaf.curvatures, 0)

        new = state._replace(num_steps=trees.one_more(state.num_steps))
        zeros = jax.tree.map(jnp.zeros_like, updates)
        return filled(zeros, [moved(leaf) for leaf in entries]), new

    return optax.GradientTransformation(init, update)
