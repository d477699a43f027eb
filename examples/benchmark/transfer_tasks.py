"""Tasks of the benchmark made wider, deeper, longer, larger, or changed half-way.

The number of steps stays what it was: a user who changes the batch changes nothing
else, so that a smaller batch sees fewer examples.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from examples.benchmark import arrays, networks, registry
from examples.benchmark.arrays import Split
from examples.benchmark.contenders import ADAM_GRID, CONSTANT_GRIDS, SGD_GRID, Contender
from examples.benchmark.race import Curves, last_loss, last_valid
from examples.benchmark.task import Pointwise, Task, entropy
from examples.benchmark.tasks import TASKS

BASES = ("digits_mlp", "teacher_noise", "cancer_mlp")
BATCHES = (0.125, 4, 16)
WIDTH, DEPTH = 4, 2
LONG = 20_000

_SGD, _ADAM = CONSTANT_GRIDS[:2]
(_AUTO,) = registry.named(("auto",))


def _against(sgd: tuple[float, ...], adam: tuple[float, ...]) -> tuple[Contender, ...]:
    """`auto` and constant step sizes; half a decade lies between two of them."""
    return _SGD._replace(step_sizes=sgd), _ADAM._replace(step_sizes=adam), _AUTO


_RIVALS = _against(SGD_GRID, ADAM_GRID)


class Variant(NamedTuple):
    """A task and who races on it.

    Attributes:
        task: with its number of steps.
        contenders: `auto` and a grid.
        seeds: how many.
        final: what is compared, from what the races returned.
    """

    task: Task
    contenders: tuple[Contender, ...] = _RIVALS
    seeds: int = 3
    final: Callable[[Curves], np.ndarray] = last_loss


class Changing(Task):
    """Trains on the first half of its rows, and after half of its steps on the second.

    The halves are as long as each other; both are seen in the same order.
    """

    def batches(self, seed: int) -> np.ndarray:
        """Row numbers, as those of a task with the first half only, then moved on."""
        half = len(self.split.x_train) // 2
        old = Split(
            self.split.x_train[:half], self.split.y_train[:half], *self.split[2:]
        )
        rows = Task(*self)._replace(split=old).batches(seed)
        later = np.arange(self.num_steps) >= self.num_steps // 2
        return rows + half * later[:, None]


def with_change(task: Task) -> Changing:
    """Labels k become k + 5 modulo 10 half-way; validated by the loss on the new data.

    The race evaluates on all rows, old and new, which nothing can fit; the validation
    loss, at the end, is the training loss on the new ones.
    """
    x, y = task.split.x_train, task.split.y_train
    new = (y + 5) % 10
    split = Split(np.concatenate([x, x]), np.concatenate([y, new]), x, new)
    return Changing(*task._replace(split=split))


def _layers(task: Task, width: int, depth: int) -> Task:
    """Hidden layers `width` times as wide, `depth` times as many."""
    problem = task.problem
    assert isinstance(problem, Pointwise)
    model = problem.model
    assert isinstance(model, networks.MLP)
    hidden = tuple(width * size for size in model.widths[:-1]) * depth
    wider = networks.MLP((*hidden, model.widths[-1]), model.activation)
    return task._replace(problem=Pointwise(wider, problem.of_each))


def _batch(task: Task, factor: float) -> Task:
    """At most the whole training set."""
    size = min(round(factor * task.batch_size), len(task.split.x_train))
    return task._replace(batch_size=size)


def _million() -> Variant:
    """1.09 million parameters that learn noisy labels by heart.

    One seed and five step sizes: a run takes minutes on one core.
    """
    data = arrays.with_label_noise(arrays.flat_digits(), 0.2)
    task = TASKS["digits_mlp"]()._replace(
        problem=Pointwise(networks.MLP((512, 1024, 512, 10)), entropy), split=data,
        batch_size=32, num_steps=5000, lanes=1,
    )  # fmt: skip
    return Variant(task, _against(SGD_GRID[2:4], ADAM_GRID[:3]), seeds=1)


def variants() -> dict[str, Variant]:
    """All of them, by name."""
    found = {}
    for name in BASES:
        task = TASKS[name]()
        found[f"{name}-as-it-is"] = Variant(task)
        found[f"{name}-width-x{WIDTH}"] = Variant(_layers(task, WIDTH, 1))
        found[f"{name}-depth-x{DEPTH}"] = Variant(_layers(task, 1, DEPTH))
        for factor in BATCHES:
            found[f"{name}-batch-x{factor:g}"] = Variant(_batch(task, factor))
    changing = with_change(TASKS["digits_mlp"]())
    found["digits_mlp-labels-change"] = Variant(changing, final=last_valid)
    long = TASKS["teacher_noise"]()._replace(num_steps=LONG)
    found[f"teacher_noise-{LONG}-steps"] = Variant(long)
    found["digits_million"] = _million()
    return found


def quick_variants() -> dict[str, Variant]:
    """Two variants cut short: they show that all runs, their numbers say nothing."""
    contenders = _against(SGD_GRID[2:4], ADAM_GRID[1:3])
    return {
        name: variant._replace(
            task=variant.task._replace(num_steps=100), contenders=contenders, seeds=1
        )
        for name, variant in variants().items()
        if name in (f"cancer_mlp-width-x{WIDTH}", "digits_mlp-labels-change")
    }
