"""Two directions of one step: a search tests one, the step goes along the other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.parts.types import Outcome, Params


class Directions(NamedTuple):
    """The direction that a search tests, and the one that its step size multiplies.

    ``searched`` and ``applied`` are what is *added*, like params. Where they are the
    same object, the tested trial is the step taken. A pair whose second direction
    depends on the step size found may hold in ``applied`` what it is made from. Then
    the ``applied`` of ``two_directions`` makes it.

    ``scaling`` is a function that returns the diagonal of the preconditioner, like
    params, of which ``searched`` is minus the product with the gradient. None means 1.

    Where ``usable`` is False, nothing is done: the batch counts as one whose loss is
    not finite. With ``goes_on`` a step is made where ``searched`` is 0 too, of the
    proposed size and without a search. Both are for two different directions.
    """

    searched: Params
    applied: Params
    scaling: Callable[[], Params] | None = None
    usable: jax.Array | bool = True
    goes_on: bool = False


def keep_state(
    state: Any, displacement: Params, report: Any, params: Params, **extra: Any
) -> Any:
    """The ``tell`` of a pair that learns nothing from the step taken.

    Example:
      >>> import optaxls
      >>> optaxls.keep_state("state", displacement=None, report=None, params=None)
      'state'
    """
    del displacement, report, params, extra
    return state


class DirectionPair(NamedTuple):
    """What makes two directions from a gradient, and learns from the step taken.

    Attributes:
      init: ``params -> state``.
      update: ``(grads, state, params, **extra) -> (Directions, state)`` with ``extra``
        the keyword arguments of ``update``. A batch that is not finite should leave the
        state as it was. This state may hold what ``tell`` needs besides.
      tell: ``(state, displacement, report, params, **extra) -> state`` runs after the
        step, and its result is kept: it has the structure that ``init`` gives.
        ``report`` is the state of the step-size rule: ``step_size``, ``accepted`` and
        the rest.
    """

    init: Callable[[Params], Any]
    update: Callable[..., tuple[Directions, Any]]
    tell: Callable[..., Any] = keep_state


def with_momentum(
    directions: Directions, outcome: Outcome
) -> tuple[Params, jax.Array | bool]:
    """Applies the second direction, whatever was searched: it is not tested.

    Returns:
      The direction, and whether it is the one that was tested.
    """
    del outcome
    return directions.applied, False


def as_searched(
    directions: Directions, outcome: Outcome
) -> tuple[Params, jax.Array | bool]:
    """Applies the tested trial, and the second direction where nothing was tested.

    Returns:
      The direction, and whether it is the one that was tested.
    """
    tested = outcome.num_trials > 0
    chosen = jax.tree.map(
        lambda s, a: jnp.where(tested, s, a), directions.searched, directions.applied
    )
    return chosen, tested
