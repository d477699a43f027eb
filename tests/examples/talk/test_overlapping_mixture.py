import numpy as np
import pytest

from examples.talk import overlapping_mixture as script
from tests.examples.talk.checks import assert_holds

LIMITS = {
    "balanced: excess of SGD / Adam, worst seed ≤ 1.2",
    "Zipf: excess of SGD / Adam, worst seed ≥ 1.8",
}


@pytest.mark.long
def test_every_inequality_holds():
    claim = script.measure()
    assert_holds(claim, LIMITS)
    assert sum(text.startswith("Negative control") for text in claim.findings) == 2


def test_shares_and_points():
    zipf = script.shares(script.ZIPF)
    assert zipf.sum() == pytest.approx(1) and zipf[0] / zipf[99] == pytest.approx(100)
    data = script.mixture(script.ZIPF, 1.0, seed=0, points=500)
    assert data.x.shape == (500, 21) and np.all(data.x[:, -1] == 1)


def test_the_least_loss_is_stationary_where_classes_overlap():
    """One feature, the constant: the best model is the class frequencies."""
    data = script.mixture(script.BALANCED, 1.0, seed=0, points=400)
    only = script.Classes(data.x[:, -1:], data.y)
    counts = np.bincount(data.y)
    shares = counts[counts > 0] / 400
    entropy = -np.sum(shares * np.log(shares))
    assert script.least(only).mean() == pytest.approx(entropy, abs=1e-6)


def test_the_excess_is_split_by_frequency():
    labels = np.repeat(np.arange(script.CLASSES), np.arange(script.CLASSES) + 1)
    data = script.Classes(np.zeros((len(labels), 1)), labels)
    losses = np.where(labels < 80, 2.0, 1.0)
    excess = script.split(losses, np.full(len(labels), 0.5), data)
    assert (excess.rare, excess.frequent) == (1.5, 0.5)
