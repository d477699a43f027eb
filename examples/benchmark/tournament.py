"""All races of a task, and all tasks: processes side by side, results as they come."""

import concurrent.futures
import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

# Before jax is imported in a worker: each uses one core, so that they do not wait for
# each other; and less optimization, since most of the time goes into compiling.
WORKER_FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"


def _numbers(array: np.ndarray) -> Any:
    """Nested lists of five digits; what is not finite becomes None, as JSON wants."""
    if array.ndim:
        return [_numbers(row) for row in array]
    return float(f"{array:.5g}") if np.isfinite(array) else None


def _record(contender: Any, curves: Any) -> dict[str, Any]:
    record = {
        "step_sizes": _numbers(np.asarray(contender.step_sizes)),
        "initial": _numbers(curves.losses[0, :, 0]),
        "final": _numbers(curves.losses[:, :, -1]),
        "scores": _numbers(curves.scores),
        "trials": _numbers(curves.trials),
        "milliseconds": _numbers(np.asarray(1e3 * curves.seconds)),
    }
    if len(contender.step_sizes) == 1:
        record["losses"] = _numbers(curves.losses[0])
        record["costs"] = _numbers(curves.costs[0])
        record["last_step_size"] = _numbers(curves.step_sizes[0])
    return record


def run_task(name: str, contenders: Sequence[str], seeds: int) -> dict[str, Any]:
    """Races the contenders of these names; a record for each."""
    from examples.benchmark import race, registry
    from examples.benchmark.tasks import TASKS

    task = TASKS[name]()
    records = {}
    for contender in registry.named(contenders):
        curves = race.run(task, contender, range(seeds))
        records[contender.name] = _record(contender, curves)
    return {
        "held_out": task.held_out,
        "num_steps": task.num_steps,
        "records": records,
    }


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
            text = json.dumps(future.result(), separators=(",", ":"))
            files[running[future]].write_text(text)
    return {name: json.loads(file.read_text()) for name, file in files.items()}
