"""Tries the doctor on problems whose answer is known, and writes a table of it.

python -m examples.doctor
python -m examples.doctor --only "words" --out runs/doctor
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code
from examples.doctor.problems import PROBLEMS
from examples.doctor.trial import (
    RACE_SEEDS,
    RACE_STEPS,
    RIGHT_WITHIN,
    STEPS,
    Trial,
    attempt,
)

_HEAD = f"""# The doctor, tried on problems whose answer is known

Written by `python -m examples.doctor`. The doctor sees {STEPS} steps with seed 0. The
truth: numbers in closed form, whether there is noise by construction, and the best of
the rules after {RACE_STEPS} steps on other batches from other parameters, geometric
mean over {len(RACE_SEEDS)} seeds (no loss counts as less than a millionth of the
first). A recommendation is right if its rule ends at most {RIGHT_WITHIN} times as high
as the best, and if noise is judged right.

| problem | known | estimate, 95 % interval | inside | regime: truth, said | take | \
how sure | its loss in the race | best rule, loss | right |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Try the doctor on problems whose answer is known."""

    only: str = ""
    """A part of the problems' names; all of them by default."""
    out: Path = Path("runs/doctor")
    """Directory of the table (results.md), the reports and the figures."""


def row(name: str, trial: Trial) -> str:
    """A line of the table."""
    advice = trial.report.recommendation
    known = ", ".join(
        f"{key} {truth:.3g}" for key, (truth, _) in trial.estimates.items()
    )
    found = ", ".join(
        f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"
        for _, one in trial.estimates.values()
    )
    inside = ("yes" if trial.inside else "NO") if trial.estimates else ""
    cells = (
        name, known, found, inside, f"{trial.regime or '?'}, {advice.regime}",
        f"`{advice.optimizer}`", advice.confidence,
        f"{trial.losses[advice.optimizer]:.3g}",
        f"`{trial.best}` {trial.losses[trial.best]:.3g}",
        "yes" if trial.right else "NO",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def table(trials: Mapping[str, Trial]) -> str:
    """The whole table, with the count below it."""
    rows = "\n".join(row(name, trial) for name, trial in trials.items())
    right = sum(trial.right for trial in trials.values())
    inside = sum(trial.inside for trial in trials.values() if trial.estimates)
    estimated = sum(bool(trial.estimates) for trial in trials.values())
    always = sum(trial.good("auto()") for trial in trials.values())
    return (
        f"{_HEAD}{rows}\n\nRight on {right} of {len(trials)}; known numbers inside"
        f" their intervals on {inside} of {estimated}. `auto()` is as good as the"
        f" best on {always}: what the doctor adds is why, and what to do about noise"
        " and rare classes.\n"
    )


def run(settings: Settings) -> dict[str, Trial]:
    """Tries the doctor, writes table, reports and figures."""
    names = [name for name in PROBLEMS if settings.only in name]
    if not names:
        raise UsageError(f"--only {settings.only}: none of {'; '.join(PROBLEMS)}")
    settings.out.mkdir(parents=True, exist_ok=True)
    trials = {}
    for name in (bar := tqdm(names, unit="problem")):
        bar.set_postfix_str(name)
        trials[name] = attempt(PROBLEMS[name]())
        tqdm.write(row(name, trials[name]))
        place = settings.out / "".join(c if c.isalnum() else "_" for c in name)
        place.with_suffix(".txt").write_text(f"{trials[name].report}\n", "utf-8")
        trials[name].report.plot().savefig(place.with_suffix(".png"))
    (settings.out / "results.md").write_text(table(trials), encoding="utf-8")
    print(settings.out / "results.md")
    return trials


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    return exit_code(lambda: run(read(Settings, arguments)))


if __name__ == "__main__":
    sys.exit(main())
