"""Scores of probabilities, and that the whole command runs."""

import numpy as np
import pytest

from examples.benchmark import calibration
from examples.benchmark.calibration_report import scores


def test_honest_probabilities_have_no_calibration_error():
    """Of rows with a confidence of 0.75, three in four are right."""
    p = np.tile([0.75, 0.25], (400, 1))
    found = scores(p, (np.arange(400) % 4 == 0).astype(int))
    assert found.calibration_error == pytest.approx(0)
    assert found.error == pytest.approx(0.25)
    expected = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert found.loss == pytest.approx(expected)


def test_the_calibration_error_weighs_bins_by_their_rows():
    p = np.array([[0.95, 0.05]] * 3 + [[0.65, 0.35]])
    found = scores(p, np.array([0, 0, 1, 0]))
    gaps = 0.75 * abs(0.95 - 2 / 3) + 0.25 * abs(0.65 - 1)
    assert found.calibration_error == pytest.approx(gaps)


@pytest.mark.long
def test_the_command_writes_table_and_diagram(tmp_path):
    assert calibration.main(["--quick", "--out", str(tmp_path)]) == 0
    assert "| digits | IVON |" in (tmp_path / "calibration.md").read_text()
    assert (tmp_path / "calibration.png").stat().st_size > 1000
