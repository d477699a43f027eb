"""Claim 5b: line searches between interpolation and noise."""

import numpy as np
import pytest

from examples.talk import interpolation_dial as dial


def test_a_larger_share_of_flips_contains_the_smaller_ones():
    signs = np.ones(5000)
    turned = dial.flipped(signs) < 0
    assert np.all(turned[:-1] <= turned[1:])
    np.testing.assert_allclose(turned.mean(1), dial.SHARES, atol=0.02)


def test_the_lowest_logistic_loss_of_points_all_in_one_place_is_the_entropy():
    inputs, signs = np.ones((10, 1)), np.repeat([1.0, -1.0], [7, 3])
    entropy = -0.7 * np.log(0.7) - 0.3 * np.log(0.3)
    np.testing.assert_allclose(dial.lowest_logistic(inputs, signs), entropy, rtol=1e-6)
    assert dial.lowest_logistic(inputs, np.ones(10)) == 0


@pytest.mark.long
def test_the_claim_holds():
    claim = dial.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("SLS without flipped labels, gap left ≤ 0.001", True),
        ("SLS with 30% of labels flipped, gap left ≥ 1", True),
        ("SGD 0.01 with 30% flipped, gap left ≤ 0.01", True),
        ("SLS on least squares without noise, f - f* ≤ 1e-09", True),
        ("spread of SLS's floor / noise² over 4 noises ≤ 1.1", True),
    ]
    assert len(claim.findings) >= 3
