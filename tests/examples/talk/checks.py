"""For the tests of the talk's scripts: their checks, held and with their limits."""

from collections.abc import Sequence

from examples.talk.claim import Claim


def failures(claim: Claim) -> list[str]:
    """The checks that did not hold, with what was measured."""
    return [
        f"{check.statement}: {check.measured}"
        for check in claim.checks
        if not check.held
    ]


def assert_reproduces(claim: Claim, expected: Sequence[str]) -> None:
    """All checks held, and nobody moved a limit."""
    assert failures(claim) == []
    statements = [check.statement for check in claim.checks]
    assert len(statements) == len(expected)
    for statement, limit in zip(statements, expected, strict=True):
        assert statement.endswith(limit), statement
    assert claim.held
    assert claim.findings


def assert_holds(claim: Claim, statements: set[str]) -> None:
    """The checks are these, with their limits, and each held."""
    assert {check.statement for check in claim.checks} == statements
    assert failures(claim) == []
