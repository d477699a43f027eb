"""Solvers of finite sums: the minimum, the count of passes, and the whole command."""

import json

import numpy as np
import pytest
import scipy.optimize

from examples.benchmark import finite_sums, finite_sums_solvers


def test_the_least_objective_is_that_of_scipy():
    data = finite_sums_solvers.synthetic(60, 3)
    found = scipy.optimize.minimize(
        lambda w: finite_sums_solvers.objective(data, w), np.zeros(3), tol=1e-12
    )
    least = finite_sums_solvers.least(data)
    assert least <= found.fun + 1e-12
    np.testing.assert_allclose(least, found.fun, rtol=1e-8)


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 8, 20])
def test_the_fewest_passes_are_found_and_a_miss_is_told(wanted):
    def gap_after(passes):
        return 1e-7 if passes >= wanted else 1e-3

    assert finite_sums.passes_to(gap_after, 20) == wanted
    assert finite_sums.passes_to(gap_after, wanted - 1 or 1) == (
        1 if wanted == 1 else -1
    )


def test_scikit_learn_solves_the_same_problem():
    data = finite_sums_solvers.synthetic(60, 3)
    w = finite_sums_solvers.scikit_learn("saga")(data, 500, 0)
    value = finite_sums_solvers.objective(data, w)
    np.testing.assert_allclose(value, finite_sums_solvers.least(data), rtol=1e-8)


@pytest.mark.long
def test_the_command_writes_its_numbers(tmp_path):
    out = tmp_path / "out"
    assert finite_sums.main(["--quick", "--out", str(out)]) == 0
    found = json.loads((out / "finite_sums.json").read_text())
    rows = found["synthetic, 400 x 5"]
    assert 0 < rows["optaxls saga"]["passes"] <= 64
    assert rows["optaxls saga"]["seconds"] > 0
    assert sum("gap" in key for row in rows.values() for key in row) == 4
