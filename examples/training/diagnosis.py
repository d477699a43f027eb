"""`--diagnose`: the doctor on the model and data of a training command."""

import sys

import jax

from examples.common import run_directory
from examples.training.settings import RunSettings
from examples.training.task import Task
from optaxls.diagnostics import Report, diagnose

# Enough for the doctor to tell noise from interpolation on the bundled data.
_MOST_STEPS = 500
_FEWEST_STEPS = 8
# Gradients of single examples cost a convolutional network dearly on a CPU.
_MEASURED = 512


def run(task: Task, settings: RunSettings) -> Report:
    """Diagnoses, prints the report, and writes it and its figure.

    Its runs are as long as training would be, at most 500 steps each. The model is in
    evaluation mode: nothing drops out, and batch norm keeps its initial statistics.
    """
    identity = settings.identity() | {"diagnosis_of": task.fingerprint}
    stem = task.name.replace(", ", "-") + "-diagnosis"
    out = settings.out or run_directory.fresh(run_directory.PARENT, stem)
    run_directory.claim(out, identity, resume=False)
    params, model_state = task.init(jax.random.key(settings.seed))
    case = task.case(model_state)
    steps = settings.epochs * task.steps_per_epoch
    report = diagnose(
        case.loss_fn,
        params,
        case.examples,
        labels=case.labels,
        batch_size=settings.batch_size,
        num_steps=max(min(steps, _MOST_STEPS), _FEWEST_STEPS),
        num_measured=_MEASURED,
        seed=settings.seed,
        progress=lambda name: print(f"short run: {name}", file=sys.stderr),
    )
    run_directory.write(
        out / "diagnosis.txt", lambda path: path.write_text(f"{report}\n", "utf-8")
    )
    figure = report.plot()
    run_directory.write(
        out / "diagnosis.png", lambda path: figure.savefig(path, format="png")
    )
    print(report)
    print(f"\nPicture: {out / 'diagnosis.png'}\nText: {out / 'diagnosis.txt'}")
    return report
