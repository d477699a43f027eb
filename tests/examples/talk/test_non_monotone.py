"""Claim 8: PoNoS against monotone rules, and the weight that stalls (T2)."""

import numpy as np
import pytest

from examples.talk import non_monotone as script


def test_the_worst_seed_is_what_counts():
    finals = {name: np.array([1.0, 1.0]) for name in script.STYLES}
    finals["PoNoS, cap 1000"] = np.array([0.01, 0.2])
    finals["monotone, cap 1000"] = np.array([1.0, 0.4])
    steps = np.ones((2, 1))
    runs = {name: script.Runs(loss[:, None], steps) for name, loss in finals.items()}
    ratio = script.comparisons(runs)
    assert ratio["PoNoS / SLS"] == pytest.approx(0.2)
    assert ratio["monotone / PoNoS"] == pytest.approx(2)
    assert ratio["prec. / best other"] == pytest.approx(100)


@pytest.mark.long
def test_the_claim_holds():
    claim = script.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("PoNoS (cap 1000) / SLS, worst seed ≤ 0.1", True),
        ("PoNoS (cap 10) / SLS, worst seed ≤ 0.1", True),
        ("its monotone form / PoNoS, worst seed ≥ 4", True),
        ("preconditioned / best other rule, worst seed ≤ 1", True),
        ("least squares: loss with weight 1 / with 0.9 ≥ 1e+06", True),
    ]
    assert len(claim.findings) >= 3
