import pytest

from examples.talk import preconditioned_search_on_text as script

WITHOUT_NOISE = {
    "full batch: excess of PoNoS_prec / PoNoS ≤ 1",
    "full batch: excess of Adam + SLS / SLS ≤ 1",
    "full batch: excess of PoNoS_prec / tuned SGD + momentum ≤ 1",
}
WITH_BATCHES = "batch 512: excess of PoNoS_prec / PoNoS ≤ 1"


@pytest.fixture(scope="module")
def claim():
    return script.measure()


@pytest.mark.long
def test_the_preconditioner_helps_without_noise(claim):
    held = {check.statement for check in claim.checks if check.held}
    assert held >= WITHOUT_NOISE


@pytest.mark.long
def test_with_small_batches_it_does_not_and_the_claim_says_so(claim):
    """A finding, of which the figure and the README speak; if it turns, they must."""
    statements = {check.statement for check in claim.checks}
    assert statements == WITHOUT_NOISE | {WITH_BATCHES}
    assert not claim.held
    assert f"{WITH_BATCHES}: " in claim.line() and "(NOT)" in claim.line()
