import pytest

from examples.talk import noise_is_not_the_factor as script
from tests.examples.talk.checks import assert_holds

LIMITS = {
    "full batch: excess of SGD / Adam ≥ 20",
    "batch 512: excess of SGD / Adam in 1.5 to 20",
    "batch 32: excess of SGD / Adam ≤ 1.5",
    "the ratio grows with the batch: 32, 512, full",
    "full batch: excess of sign descent / Adam (steps ≤ 0.3) ≤ 3",
}


@pytest.fixture(scope="module")
def claim():
    return script.measure()


@pytest.mark.long
def test_every_inequality_holds(claim):
    assert_holds(claim, LIMITS)


@pytest.mark.long
def test_no_best_step_lies_at_the_end_of_its_grid(claim):
    assert "nowhere" in claim.findings[-1]
