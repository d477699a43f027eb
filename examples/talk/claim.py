"""What a script of the talk returns, and how one of them is run alone."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from examples.common.command_line import read


class Check(NamedTuple):
    """An inequality that a faithful implementation shows.

    Attributes:
        statement: the inequality in words and numbers, with its limit.
        measured: the number that was measured, with its unit.
        held: whether the inequality is true of it.
    """

    statement: str
    measured: str
    held: bool


class Claim(NamedTuple):
    """A claim of the talk, what became of it here, and the picture that shows it.

    Attributes:
        title: a few words.
        says: what the talk claims, in a sentence or two for a newcomer.
        checks: the inequalities; the claim held if all of them did.
        findings: what else was seen, failures and limits as plainly as success; a
            sentence each.
        figure: one picture, at most 7.2 inches wide.
        source: the papers.
    """

    title: str
    says: str
    checks: tuple[Check, ...]
    findings: tuple[str, ...]
    figure: Figure
    source: str

    @property
    def held(self) -> bool:
        """Whether every inequality held."""
        return all(check.held for check in self.checks)

    def outcome(self) -> str:
        """The first inequality and what was measured, in a line."""
        return f"{self.checks[0].statement}: {self.checks[0].measured}"

    def line(self) -> str:
        """The claim, what was measured and whether it held."""
        measured = "; ".join(
            f"{check.statement}: {check.measured}" + ("" if check.held else " (NOT)")
            for check in self.checks
        )
        return f"{self.title}. {self.says} [{verdict(self.held)}] {measured}."


def verdict(held: bool) -> str:
    """The word for it, the same everywhere."""
    return "held" if held else "did not hold"


def at_most(statement: str, measured: float, limit: float) -> Check:
    """A check that `measured <= limit`; the statement is completed by the limit."""
    return Check(f"{statement} ≤ {limit:.4g}", f"{measured:.4g}", measured <= limit)


def at_least(statement: str, measured: float, limit: float) -> Check:
    """A check that `measured >= limit`; the statement is completed by the limit."""
    return Check(f"{statement} ≥ {limit:.4g}", f"{measured:.4g}", measured >= limit)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Measure one claim of the talk."""

    out: Path = Path("runs/talk")
    """Directory of the figure."""


def main(measure: Callable[[], Claim], name: str) -> int:
    """Runs one script: prints its line, writes its figure; 1 if it did not hold."""
    out = read(Settings, None).out
    claim = measure()
    print(claim.line())
    for finding in claim.findings:
        print("-", finding)
    out.mkdir(parents=True, exist_ok=True)
    claim.figure.savefig(out / f"{name}.png", dpi=200)
    print(out / f"{name}.png", file=sys.stderr)
    return 0 if claim.held else 1
