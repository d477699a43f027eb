"""A whole run: several optimizers on one task, their checkpoints, table and plot."""

from collections.abc import Callable, Sequence
from pathlib import Path

from examples.common import run_directory
from examples.common.errors import exit_code
from examples.training import diagnosis, loop, optimizers, plots, processes, report
from examples.training.checkpoint import Checkpoints
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

    All that can be refused is refused before anything is trained: the checkpoints of
    every optimizer are read before the first goes on.
    """
    identity = settings.identity() | {"data_digest": task.fingerprint}
    stem = task.name.replace(", ", "-")
    out = settings.out or run_directory.fresh(run_directory.PARENT, stem)
    processes.on_first(lambda: run_directory.claim(out, identity, settings.resume))
    recipes = [
        optimizers.make(name, settings.learning_rate, task.steps_per_epoch)
        for name in settings.optimizer_names()
    ]
    folders = [Checkpoints(out / "checkpoints" / recipe.name) for recipe in recipes]
    starts = [
        loop.prepare(task, recipe, settings.seed, settings.epochs, folder)
        for recipe, folder in zip(recipes, folders, strict=True)
    ]
    results = []
    for recipe, start, folder in zip(recipes, starts, folders, strict=True):
        results.append(loop.train(task, recipe, start, folder))
        folder.close()
    processes.on_first(lambda: _report(task, identity, results, out))
    return results


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
