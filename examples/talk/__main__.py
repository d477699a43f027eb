"""Measures every claim of the talk and writes one page about them.

python -m examples.talk
python -m examples.talk --only noise_ball,acceleration --out runs/talk
"""

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code
from examples.talk import overview
from examples.talk.claim import Claim

# The scripts in the order of the talk: the four parts of its body, and what it lists.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Models that fit their data": (
        "strong_growth",
        "over_parameterization",
        "noise_ball",
        "one_step_size_adapts",
    ),
    "Faster on such models": (
        "acceleration",
        "second_order",
        "plane_search",
        "coordinate_step_sizes",
    ),
    "Step sizes that are found": (
        "line_search_cost",
        "interpolation_dial",
        "step_size_collapse",
        "polyak_steps",
        "adam_line_search",
        "non_monotone",
        "step_cap",
        "backtrack_memory",
    ),
    "Why Adam is ahead on text": (
        "sgd_against_adam",
        "noise_is_not_the_factor",
        "class_frequency_closed_form",
        "rare_words",
        "rare_classes",
        "overlapping_mixture",
        "preconditioned_search_on_text",
    ),
    "Further results": (
        "stochastic_average_gradient",
        "expectation_maximization",
        "polyak_lojasiewicz",
        "minfunc",
        "constrained",
        "greedy_coordinates",
        "support_vectors",
        "natural_gradient",
        "surrogates",
        "imitation",
    ),
}
SCRIPTS: tuple[str, ...] = sum(SECTIONS.values(), ())


@dataclasses.dataclass(frozen=True)
class Settings:
    """Measure the claims of the talk."""

    only: str = ""
    """Names of scripts, separated by commas; all of them by default."""
    out: Path = Path("runs/talk")
    """Directory of the page (index.html) and of the figures."""


def names(only: str) -> list[str]:
    """The scripts that are asked for, in the order of the talk."""
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in SCRIPTS]:
        raise UsageError(f"--only: {unknown[0]} is none of {', '.join(SCRIPTS)}")
    return [name for name in SCRIPTS if not wanted or name in wanted]


def run(settings: Settings) -> dict[str, Claim]:
    """Measures, prints a line each, and writes figures and page."""
    claims = {}
    settings.out.mkdir(parents=True, exist_ok=True)
    for name in (bar := tqdm(names(settings.only), unit="claim")):
        bar.set_postfix_str(name)
        claim = importlib.import_module(f"examples.talk.{name}").measure()
        claims[name] = claim
        claim.figure.savefig(settings.out / f"{name}.png", dpi=200)
        tqdm.write(claim.line())
    page = overview.page(claims, SECTIONS)
    (settings.out / "index.html").write_text(page, encoding="utf-8")
    print(settings.out / "index.html")
    return claims


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; a claim that does not hold is a finding, not an error."""
    return exit_code(lambda: run(read(Settings, arguments)))


if __name__ == "__main__":
    sys.exit(main())
