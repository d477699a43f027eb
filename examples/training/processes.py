"""Processes that train one model together, on one machine or on many.

Every process runs the same program on its own rows of every batch, and all hold the
same parameters. One process is the case in which its rows are all of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from examples.common.errors import UsageError

_BATCH = "batch"
_CONNECT_SECONDS = 120


def connect(hosts: int, host_id: int, coordinator: str) -> None:
    """Joins the other processes, before JAX computes anything.

    Args:
        hosts: how many processes there are; one alone has nobody to join.
        host_id: the number of this one, from 0.
        coordinator: `ADDRESS:PORT` of process 0, which listens on that address alone.
    """
    if hosts > 1:
        jax.distributed.initialize(
            coordinator,
            num_processes=hosts,
            process_id=host_id,
            coordinator_bind_address=coordinator if host_id == 0 else None,
            initialization_timeout=_CONNECT_SECONDS,
        )


def is_first() -> bool:
    """Whether this is the process that shows and writes what all have found."""
    return jax.process_index() == 0


def replicated() -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(_mesh(), PartitionSpec())


def own_rows(rows: np.ndarray) -> np.ndarray:
    """This process's rows of a batch's; the number of devices divides theirs."""
    count = len(rows) // jax.process_count()
    start = jax.process_index() * count
    return rows[start : start + count]


def whole_batch(own: Any) -> Any:
    """The batch of all processes, spread over all devices, of which these are rows."""
    spread = NamedSharding(_mesh(), PartitionSpec(_BATCH))
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(spread, rows), own
    )


def of_first(number: int) -> int:
    """The first process's number, for all, whatever their own clocks or files say.

    Waits for every process; all must ask at the same place.
    """
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def on_first(action: Callable[[], object]) -> None:
    """Does something once for all processes, which wait for it.

    Raises:
        UsageError: on every process if `action` raised it on the first.
    """
    refusal = None
    if is_first():
        try:
            action()
        except UsageError as error:
            refusal = error
    if of_first(refusal is not None):
        raise refusal or UsageError("process 0 refused the run and says why")


def _mesh() -> Mesh:
    """All devices of all processes, in a row; those of a process are neighbours."""
    return Mesh(np.array(jax.devices()), (_BATCH,))
