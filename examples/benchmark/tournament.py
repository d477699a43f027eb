"""All races of a task, and all tasks: processes side by side, results as they come."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.benchmark import race, registry, scores, store
from examples.benchmark.contenders import Contender
from examples.benchmark.race import Curves
from examples.benchmark.report import OURS
from examples.benchmark.store import Table
from examples.benchmark.tasks import TASKS, Task
from examples.common.budget import GRADIENT_COST

# In the environment before a worker imports jax: each uses one core, so that they do
# not wait for each other; and less optimization, since most time goes into compiling.
WORKER_FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"


def _numbers(array: Any) -> Any:
    return store.rounded(np.asarray(array, float).tolist())


def _record(
    contender: Contender, curves: Curves, final: Callable[[Curves], np.ndarray]
) -> dict[str, Any]:
    record = {
        "final": _numbers(final(curves)),
        "scores": _numbers(curves.scores),
        "milliseconds": _numbers(1e3 * curves.seconds),
    }
    if len(contender.step_sizes) > 1:
        return {"step_sizes": _numbers(contender.step_sizes)} | record
    trials, spent = curves.trials[0], curves.costs[0, :, -1]
    steps = (spent - contender.trial_cost * trials) // GRADIENT_COST
    record |= {"steps": steps.tolist(), "trials": trials.tolist()}
    if contender.name == OURS:
        # Told of the races that it lost, and of no other contender's.
        record["lowest"] = _numbers(np.nanmin(curves.losses[0], 1))
    return record


def race_task(
    task: Task,
    contenders: Sequence[Contender],
    seeds: int,
    final: Callable[[Curves], np.ndarray] = race.last_loss,
) -> dict[str, Any]:
    """Races them on a task; `final` is what is compared.

    Returns:
        The losses before the first step, one for each seed, and for each contender a
        record. Its `final` and `scores` have a row for each step size and a column for
        each seed. Who has no grid also has, for each seed, the `steps` and `trials`
        made, and the share of the budget after which the best final loss of the
        constant grids was `reached`; `auto` has the `lowest` loss on its way.
    """
    curves = {c.name: race.run(task, c, range(seeds)) for c in contenders}
    first = next(iter(curves.values()))
    result = {
        "held_out": task.held_out,
        "num_steps": task.num_steps,
        "initial": _numbers(first.losses[0, :, 0]),
        "records": {c.name: _record(c, curves[c.name], final) for c in contenders},
    }
    if set(scores.CONSTANT) <= set(curves):
        for name, record in result["records"].items():
            if "step_sizes" not in record:
                losses, costs = (
                    _numbers(x[0]) for x in (curves[name].losses, curves[name].costs)
                )
                reached = scores.costs_to_best(result, losses, costs, scores.CONSTANT)
                record["reached"] = store.rounded(reached)
    return result


def run_task(name: str, table: Table, seeds: int) -> dict[str, Any]:
    """Races the contenders of a table on a task: what the table keeps of it."""
    result = race_task(TASKS[name](), registry.named(table.contenders), seeds)
    return store.kept(result, table.columns)


def run(
    names: Sequence[str],
    table: Table,
    seeds: int,
    folder: Path,
    workers: int,
    made: Mapping[str, Any],
) -> store.Races:
    """All tasks, in processes of their own; those that the file holds are read.

    So a run that was cut off goes on where it stopped.

    Args:
        names: of the tasks.
        table: who races, and what is kept.
        seeds: of each race, from 0.
        folder: where the table's file is or will be.
        workers: how many processes.
        made: what to write of this run, if anything is raced.
    """
    file = folder / table.file
    races = store.read(file)
    missing = [name for name in names if name not in races.results]
    given = os.environ.get("XLA_FLAGS", "").replace(WORKER_FLAGS, "").strip()
    os.environ["XLA_FLAGS"] = f"{given} {WORKER_FLAGS}".strip()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, max_tasks_per_child=1
    ) as pool:
        running = {pool.submit(run_task, name, table, seeds): name for name in missing}
        done = concurrent.futures.as_completed(running)
        for future in tqdm(done, total=len(running), desc="tasks", disable=not running):
            if future.exception() is not None:
                # Else the others would be raced to the end before anybody hears of it.
                pool.shutdown(cancel_futures=True)
            found = {**races.results, running[future]: future.result()}
            order = [name for name in dict.fromkeys([*names, *found]) if name in found]
            races = store.Races(made, {name: found[name] for name in order})
            store.write(file, races)
    return store.Races(races.made, {name: races.results[name] for name in names})
