import numpy as np
import pytest

from examples.talk import rare_classes as script
from examples.talk.problems_classes import barcoded_digits, digits
from tests.examples.talk.checks import assert_holds

LIMITS = {
    "digits alone: loss of SGD / Adam ≤ 1.2",
    "with rare classes: loss of SGD / Adam ≥ 1.8",
    "on the rare classes: loss of SGD / Adam ≥ 3",
    "on the frequent ones: loss of SGD / Adam ≤ 1.5",
}


@pytest.mark.long
def test_every_inequality_holds():
    claim = script.measure()
    assert_holds(claim, LIMITS)
    assert claim.findings[0].startswith("Fragile")


def test_rare_classes_are_half_of_the_images_and_told_by_their_barcode():
    plain, mixed = digits(), barcoded_digits()
    counts = np.bincount(mixed.y)
    assert len(counts) == 310 and np.all(counts[10:] == 6)
    assert abs(np.mean(mixed.y > 9) - 0.5) < 0.01
    np.testing.assert_array_equal(mixed.x[: len(plain.x), :64], plain.x)
    codes = mixed.x[:, 64:] @ 2 ** np.arange(10)
    np.testing.assert_array_equal(codes, np.maximum(mixed.y - 9, 0))
