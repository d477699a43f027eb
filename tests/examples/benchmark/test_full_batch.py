"""L-BFGS of several packages: the counts, and that the whole command runs."""

import json

import jax
import numpy as np
import pytest

from examples.benchmark import full_batch, full_batch_solvers
from examples.benchmark.full_batch_problems import wide_logistic


def test_the_loss_by_hand_is_the_loss_in_jax():
    with jax.enable_x64(True):
        problem = wide_logistic(40, 5)
        w = np.linspace(-1, 1, 5)
        assert problem.by_hand is not None
        value, grad = problem.by_hand(w, *problem.data)
        wanted = jax.value_and_grad(problem.loss)(w, *problem.data)
    np.testing.assert_allclose(value, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(grad, wanted[1], rtol=1e-10)


@pytest.mark.long
def test_every_solver_meets_the_tolerance_and_the_command_writes_its_numbers(tmp_path):
    out = tmp_path / "out"
    assert full_batch.main(["--quick", "--out", str(out)]) == 0
    found = json.loads((out / "full_batch.json").read_text())
    for row in found["timed"].values():
        assert row["optimality"] <= full_batch_solvers.TOLERANCE
        assert row["evaluations"] > 0 and row["seconds"] > 0
    assert all(n > 0 for row in found["evaluations"].values() for n in row.values())
