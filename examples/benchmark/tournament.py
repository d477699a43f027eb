"""All races of a task, and all tasks: processes side by side, results as they come."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.benchmark import race, registry, store
from examples.benchmark.contenders import Contender
from examples.benchmark.race import Curves
from examples.benchmark.store import Races, Table
from examples.benchmark.task import Task
from examples.benchmark.tasks import TASKS
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
        "best": _numbers(race.best_valid(curves)),
        "end": _numbers(race.last_valid(curves)),
    }
    if len(contender.step_sizes) > 1:
        return {"step_sizes": _numbers(contender.step_sizes)} | record
    trials, spent = curves.trials[0], curves.costs[0, :, -1]
    steps = (spent - contender.trial_cost * trials) // GRADIENT_COST
    made = {"passes": spent, "steps": steps, "trials": trials}
    return record | {key: array.tolist() for key, array in made.items()}


def race_task(
    task: Task,
    contenders: Sequence[Contender],
    seeds: int,
    final: Callable[[Curves], np.ndarray] = race.last_loss,
) -> dict[str, Any]:
    """Races them on a task.

    Args:
        task: what to train.
        contenders: at least one.
        seeds: from 0.
        final: what a record has as `final`, by default the training loss at the end.

    Returns:
        About the task: the losses before the first step, `initial` in training, a
        number for each seed. Each contender has a record: `final`, and the validation
        loss at its `best` checkpoint and at the `end`, each with a row for each step
        size and a column for each seed. Who has no grid also has, for each seed, the
        forward `passes` spent and the `steps` and `trials` made.
    """
    curves = {c.name: race.run(task, c, range(seeds)) for c in contenders}
    first = next(iter(curves.values()))
    return {
        "family": task.family,
        "held_out": task.held_out,
        "negative": task.negative,
        "large": task.large,
        "num_steps": task.num_steps,
        "initial": _numbers(first.losses[0, :, 0]),
        "initial_valid": _numbers(first.valid[0, :, 0]),
        "records": {c.name: _record(c, curves[c.name], final) for c in contenders},
    }


def seeds_of(task: Task, seeds: int) -> int:
    """A large task is raced once."""
    return 1 if task.large else seeds


def run_task(name: str, table: Table, seeds: int) -> dict[str, Any]:
    """Races the contenders of a table on a task: what the table keeps of it."""
    task = TASKS[name]()
    raced = registry.on_task(table.contenders, task)
    result = race_task(task, raced, seeds_of(task, seeds))
    return store.kept(result, table.columns)


def _named(job: tuple[str, Table, int]) -> tuple[str, dict[str, Any]]:
    """The races of a job, with the name of their task."""
    return job[0], run_task(*job)


def _missing(
    names: Sequence[str], table: Table, races: Races, again: Sequence[str]
) -> dict[str, Table]:
    """For each task, the table with those who have not raced on it yet."""
    found = {}
    for name in names:
        task, there = TASKS[name](), races.results.get(name, {"records": {}})["records"]
        raced = [c.name for c in registry.on_task(table.contenders, task)]
        left = tuple(c for c in raced if c not in there or c in again)
        if left:
            found[name] = table._replace(contenders=left)
    return found


def _merged(races: Races, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """All results with new races of a task, records in the order of the tables."""
    old = races.results.get(name, {"records": {}})["records"]
    records = {**old, **found["records"]}
    order = [c.name for c in registry.everyone() if c.name in records]
    whole = {**found, "records": {name: records[name] for name in order}}
    results = {**races.results, name: whole}
    return {task: results[task] for task in [*TASKS, *results] if task in results}


def run(
    names: Sequence[str],
    table: Table,
    seeds: int,
    folder: Path,
    workers: int,
    made: Mapping[str, Any],
    again: Sequence[str] = (),
) -> Races:
    """All tasks, in processes of their own; races that the file holds are read.

    So a run that was cut off goes on where it stopped.

    Args:
        names: of the tasks.
        table: who races, and what is kept.
        seeds: of each race, from 0; one on large tasks.
        folder: where the table's file is or will be.
        workers: how many processes.
        made: what to write of this run, if anything is raced.
        again: contenders to race anew.
    """
    file = folder / table.file
    races = store.read(file)
    missing = _missing(names, table, races, again)
    given = os.environ.get("XLA_FLAGS", "").replace(WORKER_FLAGS, "").strip()
    os.environ["XLA_FLAGS"] = f"{given} {WORKER_FLAGS}".strip()
    # Not concurrent.futures: with `max_tasks_per_child` its pool may stop handing out
    # tasks (https://github.com/python/cpython/issues/115634).
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, maxtasksperchild=1) as pool:
        jobs = [(name, left, seeds) for name, left in missing.items()]
        done = pool.imap_unordered(_named, jobs)
        for name, result in tqdm(done, total=len(jobs), desc="tasks", disable=not jobs):
            races = Races(made, _merged(races, name, result))
            store.write(file, races)
    there = {name: races.results[name] for name in names if name in races.results}
    return Races(races.made, there)
