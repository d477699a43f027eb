"""All races of a task, and all tasks: processes side by side, results as they come."""

import concurrent.futures
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.benchmark import race, registry, report
from examples.benchmark.contenders import Contender
from examples.benchmark.race import Curves
from examples.benchmark.tasks import TASKS, Task
from examples.common import run_directory

# In the environment before a worker imports jax: each uses one core, so that they do
# not wait for each other; and less optimization, since most time goes into compiling.
WORKER_FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"


def _numbers(array: Any) -> Any:
    return report.for_json(np.asarray(array, float).tolist())


def _record(
    contender: Contender, curves: Curves, final: Callable[[Curves], np.ndarray]
) -> dict[str, Any]:
    record = {
        "step_sizes": _numbers(contender.step_sizes),
        "initial": _numbers(curves.losses[0, :, 0]),
        "final": _numbers(final(curves)),
        "scores": _numbers(curves.scores),
        "trials": _numbers(curves.trials),
        "milliseconds": _numbers(1e3 * curves.seconds),
    }
    if len(contender.step_sizes) == 1:
        record["losses"] = _numbers(curves.losses[0])
        record["costs"] = _numbers(curves.costs[0])
        record["last_step_size"] = _numbers(curves.step_sizes[0])
    return record


def race_task(
    task: Task,
    contenders: Sequence[Contender],
    seeds: int,
    final: Callable[[Curves], np.ndarray] = race.last_loss,
) -> dict[str, Any]:
    """Races them on a task; `final` is what is compared. A record for each."""
    records = {
        contender.name: _record(
            contender, race.run(task, contender, range(seeds)), final
        )
        for contender in contenders
    }
    return {
        "held_out": task.held_out,
        "num_steps": task.num_steps,
        "records": records,
    }


def run_task(name: str, contenders: Sequence[str], seeds: int) -> dict[str, Any]:
    """Races the contenders of these names on the task of that name."""
    return race_task(TASKS[name](), registry.named(contenders), seeds)


def save(file: Path, results: dict[str, Any]) -> None:
    """Writes what `race_task` returned."""
    text = json.dumps(results, separators=(",", ":"))
    run_directory.write(file, lambda path: path.write_text(text))


def run(
    names: Sequence[str],
    contenders: Sequence[str],
    seeds: int,
    folder: Path,
    workers: int,
) -> dict[str, Any]:
    """All tasks, in processes of their own; those with a file in `folder` are read.

    So a run that was cut off goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.json" for name in names}
    missing = [name for name, file in files.items() if not file.exists()]
    given = os.environ.get("XLA_FLAGS", "").replace(WORKER_FLAGS, "").strip()
    os.environ["XLA_FLAGS"] = f"{given} {WORKER_FLAGS}".strip()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, max_tasks_per_child=1
    ) as pool:
        running = {
            pool.submit(run_task, name, contenders, seeds): name for name in missing
        }
        done = concurrent.futures.as_completed(running)
        for future in tqdm(done, total=len(running), desc="tasks", disable=not running):
            if future.exception() is not None:
                # Else the others would be raced to the end before anybody hears of it.
                pool.shutdown(cancel_futures=True)
            save(files[running[future]], future.result())
    return {name: json.loads(file.read_text()) for name, file in files.items()}
