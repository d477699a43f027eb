"""Searched along one direction, applied along another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls.parts.types import Params


class Directions(NamedTuple):
    """``searched``: what the rule sees; ``momentum``: what Adam would apply."""

    searched: Params
    momentum: Params


def with_momentum(directions: Directions, num_trials: jax.Array) -> Params:
    """Applies the direction with momentum, whatever was searched."""
    del num_trials
    return directions.momentum


def as_searched(directions: Directions, num_trials: jax.Array) -> Params:
    """Applies the tested trial; momentum only where nothing was tested (SaLSA)."""
    tested = num_trials > 0
    return jax.tree.map(lambda s, m: jnp.where(tested, s, m), *directions)
