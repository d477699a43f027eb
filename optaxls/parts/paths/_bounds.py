"""Updates that keep params within bounds, bit by bit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Params


def nudged(
    bounds: Callable[[Params], Params], params: Params, updates: Params
) -> Params:
    """``updates`` such that ``params + updates`` lies within bounds, bit by bit.

    The sum of p and the rounded difference b - p can be beyond b by a rounding error.
    The neighbour of the update in floating point is then taken.
    """
    # Half precision may be added in float32, so that the wide sum has to lie inside.
    ends = jax.tree.map(
        lambda p, u: p + u if trees.is_inexact(p) else p,
        trees.wide(params),
        trees.wide(updates),
    )
    inside = bounds(ends)

    def leaf(update: Any, end: Any, place: Any) -> Any:
        if not trees.is_inexact(update) or jnp.iscomplexobj(update):
            return update
        toward = jnp.where(place > end, jnp.inf, -jnp.inf).astype(update.dtype)
        # Its derivative is that of the update: the neighbour itself has none.
        held, toward = jax.lax.stop_gradient((update, toward))
        nudge = jnp.nextafter(held, toward) - held
        return update + jnp.where(place == end, 0, nudge).astype(update.dtype)

    return jax.tree.map(leaf, updates, ends, inside)
