"""Contenders by their names."""

from collections.abc import Sequence

from examples.benchmark import contenders
from examples.benchmark.contenders import ADAM_GRID, SGD_GRID, Contender
from examples.benchmark.task import Task

GRIDS = tuple(c.name for c in contenders.CONSTANT_GRIDS + contenders.COSINE_GRIDS)
PEERS = tuple(c.name for c in contenders.PEERS)
OURS = tuple(c.name for c in contenders.OURS)
DIRECTIONS = tuple(d.grid.name for d in contenders.DIRECTIONS)
FREED = tuple(d.freed.name for d in contenders.DIRECTIONS)
SEARCHES = tuple(c.name for c in contenders.SEARCHES)
QUICK = ("sgd", "adam", "adam_cosine", "prodigy", "auto", "ponos")

# A run of a large task takes a minute: few contenders, and half of each grid.
LARGE = (*GRIDS, "prodigy", "schedule_free_adamw", "auto")
_LARGE_SIZES = {SGD_GRID: SGD_GRID[3:], ADAM_GRID: ADAM_GRID[:3]}


def everyone() -> list[Contender]:
    """All contenders, in the order of the tables."""
    return [
        *contenders.CONSTANT_GRIDS,
        *contenders.COSINE_GRIDS,
        *contenders.PEERS,
        *contenders.OURS,
        *(c for direction in contenders.DIRECTIONS for c in direction),
        *contenders.SEARCHES,
    ]


def named(names: Sequence[str]) -> list[Contender]:
    """The contenders of these names, in the order of the tables."""
    return [contender for contender in everyone() if contender.name in names]


def on_task(names: Sequence[str], task: Task) -> list[Contender]:
    """Those of these contenders that race on a task, with the sizes that they try."""
    found = named(names)
    if not task.large:
        return found
    return [
        c._replace(step_sizes=_LARGE_SIZES.get(c.step_sizes, c.step_sizes))
        for c in found
        if c.name in LARGE
    ]
