"""Batches of a data set held in memory: shuffled to train on, in order to evaluate."""

from collections.abc import Callable, Mapping

import grain
import jax
import numpy as np

from examples.common.errors import UsageError
from examples.training import processes

# Large enough to be quick, small enough for the activations to fit anywhere.
_EVALUATION_BATCH = 500

# Names of the arrays and their rows, one for each example.
Arrays = Mapping[str, np.ndarray]


def steps_per_epoch(num_examples: int, batch_size: int, name: str) -> int:
    """Whole batches in a data set; refuses a size of which there is none."""
    if batch_size > num_examples:
        raise UsageError(
            f"--batch-size {batch_size} exceeds the {num_examples} training"
            f" examples of {name}"
        )
    if batch_size % jax.device_count():
        raise UsageError(
            f"--batch-size {batch_size} cannot be shared evenly by"
            f" {jax.device_count()} devices"
        )
    return num_examples // batch_size


def shuffled(
    arrays: Arrays, batch_size: int, seed: int, epochs: int
) -> grain.DatasetIterator:
    """Batches of a new order every epoch, an incomplete last one left out.

    Of every batch, this process's rows. Grain shuffles numbers of examples, and the
    arrays are indexed with a whole batch of them: far quicker than gathering examples
    one by one.
    """
    num_examples = len(next(iter(arrays.values())))
    order = grain.MapDataset.range(num_examples).seed(seed).shuffle()
    batches = order.batch(batch_size, drop_remainder=True).map(
        lambda chosen: _rows(arrays, processes.own_rows(chosen))
    )
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    return iter(batches.repeat(epochs).to_iter_dataset(reading))


def total(
    of_batch: Callable[[dict[str, jax.Array], jax.Array], jax.Array], arrays: Arrays
) -> np.ndarray:
    """Sums over all examples what `of_batch` sums over those of weight 1 in a batch.

    All batches have one shape, so that `of_batch(batch, weight)` is compiled once; the
    last one is filled up with examples of weight 0.
    """
    num_examples = len(next(iter(arrays.values())))
    devices = jax.device_count()
    size = -(-_EVALUATION_BATCH // devices) * devices
    sums = []
    for start in range(0, num_examples, size):
        numbers = processes.own_rows(np.arange(start, start + size))
        weight = (numbers < num_examples).astype(np.float32)
        batch = _rows(arrays, np.minimum(numbers, num_examples - 1))
        sums.append(of_batch(*processes.whole_batch((batch, weight))))
    return np.asarray(jax.device_get(sums), np.float64).sum(axis=0)


def _rows(arrays: Arrays, numbers: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[numbers] for name, array in arrays.items()}
