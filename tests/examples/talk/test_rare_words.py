import numpy as np
import pytest

from examples.talk import rare_words as script
from tests.examples.talk.checks import assert_holds

LIMITS = {
    "rarest tenth: excess of SGD / Adam ≥ 3",
    "SGD: excess of the rarest / commonest tenth ≥ 3",
}


@pytest.mark.slow
def test_every_inequality_holds():
    claim = script.measure()
    assert_holds(claim, LIMITS)


def test_groups_make_up_equal_shares_from_frequent_to_rare():
    ending = np.array([1, 50, 1, 25, 23, 0])
    assert list(script.groups(ending, 2)) == [1, 0, 1, 1, 1, 1]
    many = 1000 / np.arange(1, 2001)
    group = script.groups(many, 4)
    share = np.bincount(group, many) / many.sum()
    assert np.all(np.diff(group) >= 0) and np.abs(share - 0.25).max() < 0.06
