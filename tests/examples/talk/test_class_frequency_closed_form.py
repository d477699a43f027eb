import numpy as np
import pytest

from examples.talk import class_frequency_closed_form as script


@pytest.fixture(scope="module")
def claim():
    return script.measure()


@pytest.mark.slow
def test_every_inequality_holds(claim):
    limits = [check.statement.rsplit(" ", 1)[-1] for check in claim.checks]
    assert limits == ["1.4", "0.01", "1e-08", "1e-08"]
    assert "in 0.9 to 1.4" in claim.checks[0].statement
    for check in claim.checks:
        assert check.held, check
    measured = [float(number) for number in claim.checks[0].measured.split(", ")]
    assert measured == pytest.approx([0.993, 1.022, 1.289], abs=2e-3)
    assert "2.0405e-07" in claim.findings[1]


def test_the_closed_form_solves_its_equation():
    """The gradient of the margin, by finite differences of the closed form."""
    shares, time, classes = script.zipf(10), 50.0, 10
    loss = script.flow_loss(shares, time)
    margin = -np.log(np.expm1(loss) / (classes - 1))
    np.testing.assert_allclose(
        np.expm1(margin) + (classes - 1) * margin, classes * shares * time, rtol=1e-9
    )


def test_the_closed_form_starts_at_the_loss_of_equal_logits():
    np.testing.assert_allclose(script.flow_loss(script.zipf(7), 0.0), np.log(7))
