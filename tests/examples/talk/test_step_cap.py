"""Claim 8: the cap on the step size."""

import pytest

from examples.talk import step_cap


@pytest.mark.long
def test_the_claim_holds():
    claim = step_cap.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("PoNoS (cap 1000) / SLS (cap 10) ≤ 0.1", True),
        ("its monotone form / PoNoS ≥ 4", True),
        ("PoNoS, cap 10 / cap 1000 ≥ 10", True),
        ("preconditioned (cap 1000) / best other rule ≤ 1", True),
    ]
    assert len(claim.findings) >= 3
