"""Measures what a search costs, as ratios of times measured in turns.

    python -m examples.benchmark.cost
    python -m examples.benchmark.cost --rounds 200 --out runs/cost
    python -m examples.benchmark.cost --quick

Every step is jitted with its old params and state donated and goes on training on one
fixed batch. The floor is what a search with one trial cannot undercut: the gradient,
the update, and one forward pass at the new params. A ratio is the median over the
rounds, with its quartiles. Close other programs: a busy machine widens the quartiles.
"""

import dataclasses
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from examples.benchmark import (
    cost_models,
    cost_programs,
    cost_report,
    cost_steps,
    store,
)
from examples.benchmark.cost_models import Task
from examples.benchmark.cost_steps import Contender
from examples.benchmark.cost_timing import Ratio, Runner, in_turns
from examples.common import run_directory
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code

_SEEDS = 8
_PERIOD = 10

# Several seeds of a large model take long, and a search over seeds is told by these.
_MODELS_OVER_SEEDS = ("softmax", "MLP")
_MODEL_OF_SEARCHES = "MLP"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Measure what a search costs; everything has a default."""

    rounds: int = 80
    """Turns of each contender."""
    quick: bool = False
    """Tiny models and three rounds: shows that all runs, its numbers say nothing."""
    out: Path | None = None
    """Directory of the results; by default a new one below runs/."""


def _ratios(task: Task, contenders: Sequence[Contender], rounds: int) -> dict[str, Any]:
    """Ratios to the first contender, and what its step takes in milliseconds."""
    runners = [Runner(contender, task) for contender in contenders]
    times = in_turns(runners, rounds)
    base = contenders[0].name
    found: dict[str, Any] = {
        runner.name: times.ratio(runner.name, base) for runner in runners[1:]
    }
    return found | {
        "milliseconds": 1e3 * float(np.median(times.seconds[base])),
        "times": times,
        "runners": {runner.name: runner for runner in runners},
    }


def one_step(task: Task, rounds: int) -> dict[str, Any]:
    """One trial a step against the floor, our rules and those of other packages."""
    others = [cost_steps.of_optax(), cost_steps.of_jaxopt()]
    contenders = [
        cost_steps.sgd(),
        cost_steps.floor(),
        cost_steps.one_trial(),
        cost_steps.one_trial("keep", "one trial, kept"),
        *(contender for contender in others if contender is not None),
        cost_steps.gated(_PERIOD),
        cost_steps.adam(),
        cost_steps.auto(),
    ]
    found = _ratios(task, contenders, rounds)
    times, runners = found.pop("times"), found.pop("runners")
    ours = ("one trial", "one trial, kept")
    trials = {int(optax.tree.get(runners[n].state(), "num_trials")) for n in ours}
    if trials != {1}:
        raise AssertionError(f"{task.name}: a forced step took {trials} trials, not 1")
    searching = [name for name in found if name in (*ours, "optax", "jaxopt")]
    return {
        "milliseconds of SGD": found.pop("milliseconds"),
        "to SGD": found,
        "to floor": {name: times.ratio(name, "floor") for name in searching},
        "to Adam": {"auto": times.ratio("auto", "Adam")},
        "programs": {name: runner.programs() for name, runner in runners.items()},
    }


def over_seeds(task: Task, rounds: int) -> dict[str, Ratio]:
    """Several seeds by `vmap`, to SGD over as many."""
    contenders = [
        cost_steps.sgd(),
        cost_steps.one_trial(),
        cost_steps.natural("as many as needed"),
    ]
    found = _ratios(task, [c.over_seeds(_SEEDS) for c in contenders], rounds)
    return {c.name: found[c.name] for c in contenders[1:]}


def searches(task: Task, steps: int) -> dict[str, dict[str, float]]:
    """Trials and time of the first steps of a training run each."""
    rows = {}
    for contender in cost_steps.searches():
        runner = Runner(contender, task)
        runner.restart()
        trials = []
        for _ in range(steps):
            runner.run(1)
            trials.append(int(optax.tree.get(runner.state(), "num_trials")))
        runner.restart()
        rows[contender.name] = {
            "trials a step": float(np.mean(trials)),
            "milliseconds a step": 1e3 * runner.run(steps),
        }
    return rows


def in_torch(task: Task, rounds: int) -> dict[str, Any]:
    """The same in PyTorch, to its own SGD and floor, and its SGD to that of JAX."""
    # Only here, for it is an extra, and takes seconds to import.
    from examples.benchmark import cost_torch

    theirs = cost_torch.converted(task)
    runners = [Runner(contender, theirs) for contender in cost_torch.contenders()]
    jax_sgd = Runner(cost_steps.sgd()._replace(name="SGD in JAX"), task)
    times = in_turns([*runners, jax_sgd], rounds)
    if runners[-1].carry.trials != 1:
        raise AssertionError(f"{task.name}: a forced step in torch took several trials")
    return {
        "floor to SGD": times.ratio("floor", "SGD"),
        "one trial to SGD": times.ratio("one trial", "SGD"),
        "one trial to floor": times.ratio("one trial", "floor"),
        "SGD to SGD in JAX": times.ratio("SGD", "SGD in JAX"),
    }


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def programs(task: Task, repeats: int) -> dict[str, dict[str, float]]:
    """Memory and compile time, to SGD; loops with more than forward passes in them."""
    contenders = [
        cost_steps.sgd(),
        cost_steps.floor(),
        cost_steps.one_trial(),
        cost_steps.of_optax(),
        cost_steps.adam(),
        cost_steps.auto(),
    ]
    copy = cost_programs.param_bytes(task)
    compiled = cost_programs.compile_in_turns(contenders, task, repeats)
    base = compiled["SGD"]
    forward = cost_programs.products_of_forward(task)
    return {
        c.name: {
            "temporary memory over SGD, in params": (
                (compiled[c.name].temporary_bytes - base.temporary_bytes) / copy
            ),
            "state, in params": cost_programs.state_bytes(c, task) / copy,
            "compile time to SGD": compiled[c.name].seconds / base.seconds,
            "forward passes in loops": (
                cost_programs.products_in_branches(c, task) / forward
            ),
        }
        for c in contenders
    }


def measure(settings: Settings) -> dict[str, Any]:
    """Everything, by kind of measurement and then by model."""
    rounds = 3 if settings.quick else settings.rounds
    repeats = 1 if settings.quick else 3
    tasks = cost_models.tasks()
    if settings.quick:
        tiny = cost_models.tiny_tasks()
        tasks = {name: tiny[name] for name in _MODELS_OVER_SEEDS}
    found: dict[str, Any] = {"steps": {}, "torch": {}, "seeds": {}, "programs": {}}
    for name, task in tasks.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        found["programs"][name] = programs(task, repeats)
        found["steps"][name] = one_step(task, rounds)
        if _has_torch():
            found["torch"][name] = in_torch(task, rounds)
    for name in _MODELS_OVER_SEEDS:
        found["seeds"][name] = over_seeds(tasks[name], rounds)
    found["searches"] = searches(tasks[_MODEL_OF_SEARCHES], 50 * repeats)
    return found | {
        "machine": {"backend": jax.default_backend(), "jax": jax.__version__},
        "model of searches": _MODEL_OF_SEARCHES,
    }


def _out(settings: Settings) -> Path:
    if settings.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, not {settings.rounds}")
    out = settings.out or run_directory.fresh(Path("runs"), "cost")
    identity = {"rounds": settings.rounds, "quick": settings.quick}
    run_directory.claim(out, identity, resume=False)
    return out


def _run(settings: Settings) -> None:
    """Measures, prints and writes."""
    out = _out(settings)
    found = measure(settings)
    numbers = store.text(store.rounded(cost_report.plain(found))) + "\n"
    run_directory.write(out / "cost.json", lambda path: path.write_text(numbers))
    run_directory.write(
        out / "cost.png", lambda path: cost_report.save_figure(path, found["steps"])
    )
    print(cost_report.tables(found))
    if cost_steps.of_jaxopt() is None:
        print("\njaxopt is not installed (extra: benchmark), so it was left out.")
    if not _has_torch():
        print("torch is not installed (extra: torch), so it was left out.")
    print(f"\nPicture: {out / 'cost.png'}\nNumbers: {out / 'cost.json'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    settings = read(Settings, arguments)
    return exit_code(lambda: _run(settings))


if __name__ == "__main__":
    sys.exit(main())
