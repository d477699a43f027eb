"""Tasks of the benchmark made wider, deeper, longer, larger, or changed half-way; and
tasks that are new.

The number of steps stays what it was: a user who changes the batch changes nothing
else, so that a smaller batch sees fewer examples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from examples.benchmark import arrays, networks, registry
from examples.benchmark.arrays import Split
from examples.benchmark.contenders import (
    ADAM_GRID,
    CONSTANT_GRIDS,
    SGD_GRID,
    Contender,
)
from examples.benchmark.new_tasks import NEW_TASKS
from examples.benchmark.race import Curves, last_loss
from examples.benchmark.tasks import TASKS, Task, entropy

BASES = ("digits_mlp", "teacher_noise", "cancer_mlp")
BATCHES = (0.125, 4, 16)
WIDTH, DEPTH = 4, 2
LONG = 20_000

_SGD, _ADAM = CONSTANT_GRIDS
_PRODIGY, _AUTO = registry.named(("prodigy", "auto"))


def _against(sgd: tuple[float, ...], adam: tuple[float, ...]) -> tuple[Contender, ...]:
    """`auto` and constant step sizes; half a decade lies between two of them."""
    return _SGD._replace(step_sizes=sgd), _ADAM._replace(step_sizes=adam), _AUTO


# SGD from 3e-3 to 1, Adam from 3e-4 to 0.1.
_RIVALS = _against(SGD_GRID[2:8], ADAM_GRID[2:8])
_RIVALS_ON_NEW_TASKS = (*_against(SGD_GRID, ADAM_GRID), _PRODIGY)


def last_score(curves: Curves) -> np.ndarray:
    """The score at the end, where a task makes a loss of it."""
    return curves.scores


class Variant(NamedTuple):
    """A task and who races on it.

    Attributes:
        task: with its number of steps.
        contenders: `auto` and a grid; on new tasks the whole grid, and Prodigy.
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


def _mean_entropy(logits: jax.Array, labels: jax.Array, train: jax.Array) -> jax.Array:
    del train
    return jnp.mean(entropy(logits, labels))


def with_change(task: Task) -> Changing:
    """Labels k become k + 5 modulo 10 half-way; scored by the loss on the new data.

    The race evaluates on all rows, old and new, which nothing can fit; the score, at
    the end, is the training loss on the new ones.
    """
    x, y = task.split.x_train, task.split.y_train
    new = (y + 5) % 10
    split = Split(np.concatenate([x, x]), np.concatenate([y, new]), x, new)
    return Changing(*task._replace(split=split, score=_mean_entropy))


def _layers(task: Task, width: int, depth: int) -> Task:
    """Hidden layers `width` times as wide, `depth` times as many."""
    model = task.model
    assert isinstance(model, networks.MLP)
    hidden = tuple(width * size for size in model.widths[:-1]) * depth
    widths = (*hidden, model.widths[-1])
    return task._replace(model=networks.MLP(widths, model.activation))


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
        model=networks.MLP((512, 1024, 512, 10)), split=data, batch_size=32,
        num_steps=5000, lanes=1,
    )  # fmt: skip
    return Variant(task, _against(SGD_GRID[4:6], ADAM_GRID[2:5]), seeds=1)


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
    found["digits_mlp-labels-change"] = Variant(changing, final=last_score)
    long = TASKS["teacher_noise"]()._replace(num_steps=LONG)
    found[f"teacher_noise-{LONG}-steps"] = Variant(long)
    found["digits_million"] = _million()
    for name, make in NEW_TASKS.items():
        found[f"new-{name}"] = Variant(make(), _RIVALS_ON_NEW_TASKS)
    return found


def quick_variants() -> dict[str, Variant]:
    """Two variants cut short: they show that all runs, their numbers say nothing."""
    contenders = _against(SGD_GRID[4:6], ADAM_GRID[3:5])
    return {
        name: variant._replace(
            task=variant.task._replace(num_steps=100), contenders=contenders, seeds=1
        )
        for name, variant in variants().items()
        if name in (f"cancer_mlp-width-x{WIDTH}", "digits_mlp-labels-change")
    }
