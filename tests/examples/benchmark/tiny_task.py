"""A task small enough for tests of the benchmark."""

from typing import Any

import numpy as np

from examples.benchmark.arrays import Split
from examples.benchmark.networks import MLP
from examples.benchmark.task import Task, classify

STEPS = 20


def tiny_task(rows: int = 50, **settings: Any) -> Task:
    """Two classes of points in the plane, told apart by a small network."""
    x = np.random.default_rng(0).standard_normal((rows, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    settings = {"batch_size": 8, "num_steps": STEPS} | settings
    return classify("tiny", "tables", MLP((8, 2)), Split(x, y, x, y), **settings)
