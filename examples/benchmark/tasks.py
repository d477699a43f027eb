"""The tasks of the benchmark: small, real where data ships with a library, seeded.

Half of them are `held_out`: nothing about `optaxls.auto` is chosen with them in view.
"""

from collections.abc import Callable

from examples.benchmark import (
    tasks_densities,
    tasks_diffusion,
    tasks_embeddings,
    tasks_images,
    tasks_text,
    tasks_vectors,
)
from examples.benchmark.task import Task

TASKS: dict[str, Callable[[], Task]] = {
    **tasks_text.TASKS,
    **tasks_diffusion.TASKS,
    **tasks_images.TASKS,
    **tasks_vectors.TASKS,
    **tasks_embeddings.TASKS,
    **tasks_densities.TASKS,
}
QUICK = ("diffusion_roll", "digits_small_mlp", "least_squares")
HALVES = ("all", "choose", "report")


def of_half(half: str) -> tuple[str, ...]:
    """Names of all tasks, of those to choose by, or of the held-out ones to report."""
    if half == "all":
        return tuple(TASKS)
    held_out = half == "report"
    return tuple(name for name, make in TASKS.items() if make().held_out == held_out)
