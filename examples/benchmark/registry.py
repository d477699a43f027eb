"""Contenders by their names."""

from collections.abc import Sequence

from examples.benchmark import contenders
from examples.benchmark.contenders import Contender

GRIDS = tuple(c.name for c in contenders.CONSTANT_GRIDS + contenders.COSINE_GRIDS)
PEERS = tuple(c.name for c in contenders.PEERS)
OURS = tuple(c.name for c in contenders.OURS)
DIRECTIONS = tuple(d.grid.name for d in contenders.DIRECTIONS)
FREED = tuple(d.freed.name for d in contenders.DIRECTIONS)
SEARCHES = tuple(c.name for c in contenders.SEARCHES)
QUICK = (*GRIDS[:2], "prodigy", "auto", "ponos", "sls")


def named(names: Sequence[str]) -> list[Contender]:
    """The contenders of these names, in the order of the tables."""
    everyone = [
        *contenders.CONSTANT_GRIDS,
        *contenders.COSINE_GRIDS,
        *contenders.PEERS,
        *contenders.OURS,
        *(c for direction in contenders.DIRECTIONS for c in direction),
        *contenders.SEARCHES,
    ]
    return [contender for contender in everyone if contender.name in names]
