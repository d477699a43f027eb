"""The doctor against truth and race; its table stands at the end of the output."""

import jax
import numpy as np
import pytest

from examples.doctor.__main__ import main, row, table
from examples.doctor.problems import PROBLEMS, least_squares, mixture
from examples.doctor.trial import STEPS, Trial, attempt
from optaxls.diagnostics import Finding, PilotResult, Recommendation, diagnose

# The other five differ from these in a number only; `python -m examples.doctor` has
# them, and the table of the README's link.
CHOSEN = [
    "least squares, no noise",
    "least squares, noise 0.1",
    "least squares, noise 1",
    "one-hot quadratic, rho 10",
    "one-hot quadratic, rho 40",
    "separate clusters, Zipf 1",
    "overlapping clusters, balanced",
    "overlapping clusters, Zipf 1.5",
    "digits, ReLU network",
    "digits, linear, 30 % wrong",
    "words",
    "tanh teacher, wide student",
]


@pytest.mark.slow(one_in=8)
@pytest.mark.parametrize("name", CHOSEN[:8])
def test_estimates_and_regime(name):
    """Without other rules than the one that is measured."""
    problem = PROBLEMS[name]()
    report = diagnose(
        problem.loss_fn,
        problem.init(jax.random.key(0)),
        problem.data,
        labels=problem.labels,
        batch_size=problem.batch_size,
        num_steps=STEPS,
        candidates={},
    )
    for known, truth in problem.known.items():
        found = report.findings[known]
        assert found.low - 1e-6 <= truth <= found.high + 1e-6, (truth, found)
    assert report.recommendation.regime == problem.regime


@pytest.mark.long
@pytest.mark.parametrize("name", CHOSEN)
def test_estimates_and_recommendation(name, record_property):
    trial = attempt(PROBLEMS[name]())
    record_property("doctor", row(name, trial))
    assert trial.inside, trial.estimates
    assert trial.right, (trial.report.recommendation, trial.losses)


def made_up(taken, losses, regime="noise", truth=None, first=1.0):
    advice = Recommendation(taken, "noise", "", "", (), "sure")

    class Report:
        recommendation = advice
        pilots = dict.fromkeys(losses, PilotResult(1.0, 0.0))

    found = Finding("noise floor", 1.0, 0.9, 1.1, "95 %", "", "")
    estimates = {} if truth is None else {"noise floor": (truth, found)}
    return Trial(Report(), estimates, regime, losses, first)  # pyright: ignore


def test_what_counts_as_right():
    assert made_up("auto()", {"auto()": 1.5, "sls()": 1.0}).right
    assert not made_up("auto()", {"auto()": 1.6, "sls()": 1.0}).right
    assert not made_up("sls()", {"auto()": 1.0, "sls()": np.nan}).right
    assert made_up("sls()", {"auto()": 1e-30, "sls()": 1e-7}).right
    assert not made_up("auto()", {"auto()": 1.0}, regime="interpolation").right
    assert made_up("auto()", {"auto()": 1.0}, truth=1.05).inside
    assert not made_up("auto()", {"auto()": 1.0}, truth=1.2).inside


def test_the_table_counts_what_is_right():
    trials = {
        "one": made_up("auto()", {"auto()": 1.0, "sls()": 2.0}, truth=1.05),
        "two": made_up("sls()", {"auto()": 1.0, "sls()": 2.0}, truth=1.2),
    }
    text = table(trials)
    assert "Right on 1 of 2; known numbers inside their intervals on 1 of 2." in text
    assert "`auto()` is as good as the best on 2" in text


def test_the_known_floor_is_that_of_the_minimum():
    """Moving the weights in any direction raises the loss."""
    problem = least_squares(1.0)
    x, y = map(np.asarray, problem.data)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    residuals = x @ best - y
    np.testing.assert_allclose(x.T @ residuals, 0, atol=0.05)
    floor = np.mean((x**2).sum(1) * residuals**2)
    np.testing.assert_allclose(problem.known["noise floor"], floor, rtol=1e-4)


def test_labels_follow_their_law():
    counts = np.bincount(np.asarray(mixture(1.5, 2.5).labels))
    expected = counts[0] * np.arange(1.0, 51) ** -1.5
    np.testing.assert_allclose(counts, expected, atol=0.6)


def test_an_unknown_problem_is_refused(capsys):
    assert main(["--only", "no such"]) == 2
    assert "error: --only no such: none of least squares" in capsys.readouterr().err
