"""A whole run: several optimizers on one task, their checkpoints, table and plot."""

from collections.abc import Callable, Sequence
from pathlib import Path

from examples.common import run_directory
from examples.common.errors import exit_code
from examples.training import diagnosis, loop, optimizers, plots, processes, report
from examples.training.checkpoint import Checkpoints, last_saved
from examples.training.history import Result
from examples.training.settings import RunSettings, SettingsT, parse
from examples.training.task import Task


def command(
    settings_class: type[SettingsT],
    make_task: Callable[[SettingsT], Task],
    arguments: Sequence[str] | None = None,
) -> int:
    """A training command: parses, runs, and returns the exit code.

    Args:
        settings_class: the command's settings and their defaults.
        make_task: builds the task; may raise `UsageError`.
        arguments: the command line, by default the process's own.
    """

    def command() -> None:
        settings = parse(settings_class, arguments)
        processes.connect(settings.hosts, settings.host_id, settings.coordinator)
        (diagnosis.run if settings.diagnose else run)(make_task(settings), settings)

    return exit_code(command)


def run(task: Task, settings: RunSettings) -> list[Result]:
    """Trains every optimizer of `settings` on `task` and reports.

    Raises:
        KeyboardInterrupt: on Ctrl-C, with what was saved and how to go on.
    """
    identity = settings.identity() | {"data_digest": task.fingerprint}
    stem = task.name.replace(", ", "-")
    out = settings.out or run_directory.fresh(run_directory.PARENT, stem)
    processes.on_first(lambda: run_directory.claim(out, identity, settings.resume))
    try:
        results = _train(task, settings, out)
        processes.on_first(lambda: _report(task, identity, results, out))
    except KeyboardInterrupt:
        # Not from the loop, whose state may be half a step ahead of itself.
        raise KeyboardInterrupt(_how_to_go_on(task, settings, out)) from None
    return results


def _train(task: Task, settings: RunSettings, out: Path) -> list[Result]:
    """All trainings, one after the other.

    All that can be refused is refused before anything is trained: the checkpoints of
    every optimizer are read before the first goes on.
    """
    recipes = [
        optimizers.make(name, settings.learning_rate, task.steps_per_epoch)
        for name in settings.optimizer_names()
    ]
    folders = [Checkpoints(_checkpoints(out, recipe.name)) for recipe in recipes]
    starts = [
        loop.prepare(task, recipe, settings.seed, settings.epochs, folder)
        for recipe, folder in zip(recipes, folders, strict=True)
    ]
    results = []
    for recipe, start, folder in zip(recipes, starts, folders, strict=True):
        results.append(loop.train(task, recipe, start, folder))
        folder.close()
    return results


def _checkpoints(out: Path, optimizer: str) -> Path:
    return out / "checkpoints" / optimizer


def _how_to_go_on(task: Task, settings: RunSettings, out: Path) -> str:
    """What is on disk of each optimizer's training, and the options that resume it."""
    total = settings.epochs * task.steps_per_epoch
    steps = {
        name: last_saved(_checkpoints(out, name)) for name in settings.optimizer_names()
    }
    saved = [f"{name} to step {n} of {total}" for name, n in steps.items() if n]
    return (
        f"saved {', '.join(saved) or 'no step yet'}; to go on, give the same command"
        f" with --out {out} --resume"
    )


def _report(task: Task, identity: dict, results: Sequence[Result], out: Path) -> None:
    """Prints the table, writes the numbers and the picture, says where they are."""
    numbers = report.as_json(identity, results, task.scores)
    run_directory.write(out / "results.json", lambda path: path.write_text(numbers))
    run_directory.write(
        out / "training.png",
        lambda path: plots.save_figure(path, task.name, results, task.scores[0]),
    )
    print()
    print(report.table(results, task.scores))
    print(f"\nPicture: {out / 'training.png'}\nNumbers: {out / 'results.json'}")
