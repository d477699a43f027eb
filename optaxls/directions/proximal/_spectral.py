"""The direction of the spectral projected gradient method."""

from typing import Any

import jax.numpy as jnp

from optaxls._core import trees
from optaxls._engine.origin import make_origin
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.initial_steps.barzilai_borwein import barzilai_borwein
from optaxls.parts.paths.proximal import along_prox
from optaxls.parts.types import Outcome, Params, Proximal, Trial


def spectral_step(prox: Proximal, initial_step_size: float) -> DirectionPair:
    """The displacement of a proximal gradient step, of Barzilai and Borwein's size.

    It is a direction, to be searched along on the segment.
    """
    path, size = along_prox(prox), barzilai_borwein(initial_step_size)

    def update(
        grads: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        **extra: Any,
    ) -> tuple[Directions, Any]:
        del extra
        origin = make_origin(params, grad, trees.reverse(grads), value)
        step_size = size.propose(state, origin)
        found = path.displace(origin, step_size)
        trial = Trial(step_size, origin.value, found.linear_change, found.sqdistance)
        none, taken = jnp.zeros((), jnp.int32), jnp.ones((), bool)
        outcome = Outcome(trial, trial, step_size, none, taken)
        finite = jnp.isfinite(origin.value) & jnp.isfinite(origin.slope)
        state = trees.select(finite, size.commit(state, origin, outcome), state)
        return Directions(found.updates, found.updates), state

    return DirectionPair(size.init, update)
