"""The shapes that rules, searches and transformations exchange.

Scalars are float32 (float64 with float64 params) unless said otherwise. Losses are
in "loss units"; a step size multiplies a direction and has whatever unit makes the
product a displacement of the params.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Params = Any


Memory = Any


ValueFn = Callable[[Params], Any]


class Origin(NamedTuple):
    """What is known at the params ``w`` before any trial.

    ``direction`` is what is *added*: the slope ``<grad, direction>`` is negative for
    descent. Differences of losses below ``rounding`` (loss units) are noise;
    ``value_rounding`` is what the sum that the loss is adds to it.
    """

    params: Params
    grad: Params
    direction: Params
    value: jax.Array
    slope: jax.Array
    grad_sqnorm: jax.Array
    direction_sqnorm: jax.Array
    rounding: jax.Array
    lower_bound: jax.Array | None = None
    value_rounding: jax.Array | float = 0.0


class Displacement(NamedTuple):
    """``w+ - w`` as a tree, ``<grad, w+ - w>`` and ``||w+ - w||^2``."""

    updates: Params
    linear_change: jax.Array
    sqdistance: jax.Array


class Trial(NamedTuple):
    """One candidate ``w+``: step size, loss, ``<grad, w+ - w>``, ``||w+ - w||^2``."""

    step_size: jax.Array
    value: jax.Array
    linear_change: jax.Array
    sqdistance: jax.Array


class Verdict(NamedTuple):
    """A condition's opinion of a trial, in loss units; ``<= 0`` means satisfied."""

    too_long: jax.Array
    too_short: jax.Array | float = -float("inf")


class Outcome(NamedTuple):
    """How a step ended.

    ``trial`` is the accepted one; after a failed search, where the search stands: the
    step size that it would have tried next; without a search, the proposal.
    ``num_trials`` counts loss evaluations as a sequential search would.
    """

    trial: Trial
    num_trials: jax.Array
    accepted: jax.Array


class Condition(NamedTuple):
    """When is a trial good enough? Four pure functions and a memory of arrays.

    ``observe`` runs once before the trials (also when no search is made), ``commit``
    once after them. Neither runs on a batch whose loss or slope is not finite.
    """

    init: Callable[[Params], Memory]
    observe: Callable[[Memory, Origin], Memory]
    judge: Callable[[Memory, Origin, Trial], Verdict]
    commit: Callable[[Memory, Origin, Outcome], Memory]


class InitialStep(NamedTuple):
    """Which step size to try first; ``uses``: the ``update`` arguments it reads."""

    init: Callable[[Params], Memory]
    propose: Callable[[Memory, Origin], jax.Array]
    commit: Callable[[Memory, Origin, Outcome], Memory]
    uses: tuple[str, ...] = ("value",)


class Gate(NamedTuple):
    """Search this time, or take the proposed step untested?"""

    init: Callable[[Params], Memory]
    should_search: Callable[[Memory, Origin], jax.Array]
    commit: Callable[[Memory, Origin, Outcome], Memory]


class Problem(NamedTuple):
    """What a search may ask: evaluate a step size, judge a trial.

    ``judge`` has the numerical guards inside: a trial whose loss is not finite is too
    long, and differences within ``origin.rounding`` are forgiven.
    """

    origin: Origin
    probe: Callable[[jax.Array], Trial]
    judge: Callable[[Trial], Verdict]


Path = Callable[[Origin, jax.Array], Displacement]


Search = Callable[[Problem, jax.Array, jax.Array], Outcome]


def no_memory(params: Params) -> Memory:
    """The ``init`` of a rule without memory."""
    del params
    return ()


def keep_memory(
    memory: Memory, origin: Origin, outcome: Outcome | None = None
) -> Memory:
    """An ``observe`` or ``commit`` that changes nothing.

    Example:
      >>> import optaxls
      >>> optaxls.keep_memory(("as", "it", "was"), origin=None)
      ('as', 'it', 'was')
    """
    del origin, outcome
    return memory
