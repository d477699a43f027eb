"""Which examples stand in which batch, as numbers of rows."""

import numpy as np


def epochs_of(num_examples: int, batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """Rows of the batches, shuffled anew every epoch, `(steps, batch_size)`, int32.

    An incomplete last batch of an epoch is left out.
    """
    rng = np.random.default_rng(seed)
    per_epoch = num_examples // batch_size
    orders = [
        rng.permutation(num_examples)[: per_epoch * batch_size] for _ in range(epochs)
    ]
    return np.concatenate(orders).reshape(-1, batch_size).astype(np.int32)
