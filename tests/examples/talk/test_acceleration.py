"""Accelerated SGD: the safe form, Nesterov's momentum, the limit."""

import jax
import numpy as np
import pytest

from examples.talk import acceleration
from examples.talk.acceleration import (
    Quadratic,
    Run,
    nesterov,
    run,
    safe,
    sgd,
    with_full_momentum,
)
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    claim = acceleration.measure()
    between, diverges = "in [2.5, 5.5]", "diverges (loss × 1e6 or more)"
    assert_reproduces(claim, ["≥ 10", between, between, diverges, "≤ 1"])
    # Correction T1 is shown, not hidden.
    assert "safe form's steps grow" in claim.findings[0]
    assert "No method of stochastic gradients alone" in claim.findings[1]


def test_the_quadratic_has_the_growth_that_it_says():
    """E|g|^2 = rho |grad f|^2 at any point, here by all batches of two."""
    task = Quadratic(4, 10.0, 2)
    slopes = task.curvatures * np.array([1.0, -2.0, 3.0, 0.5])
    grads = np.diag(slopes)
    mean = np.mean(
        [np.sum(((grads[i] + grads[j]) / 2) ** 2) for i in range(4) for j in range(4)]
    )
    np.testing.assert_allclose(mean, task.growth * np.sum((slopes / 4) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("method", [sgd, safe])
def test_no_stochastic_method_beats_the_limit_where_each_coordinate_waits(method):
    """kappa = 1: what remains is exactly the share of coordinates never drawn."""
    task = Quadratic(8, 1.0)
    with jax.enable_x64(True):
        found = run(task, method, 12, seeds=4)
    rows = acceleration.examples_drawn(8, 4, 12)
    for step, loss in zip(found.steps, found.losses, strict=True):
        missing = [8 - len(set(drawn[:step])) for drawn in rows]
        np.testing.assert_allclose(loss, np.mean(missing) / 8, atol=1e-12)


@pytest.mark.slow
def test_nesterovs_momentum_diverges_where_the_others_do_not():
    task = Quadratic(20, 100.0)
    with jax.enable_x64(True):
        assert run(task, nesterov, 400, seeds=2).diverged
        assert not run(task, safe, 400, seeds=2).diverged
        assert with_full_momentum(task, 400, 2).needed < 400


def test_needed_is_the_first_record_below_the_tolerance():
    steps = np.array([0, 10, 20])
    assert Run(steps, np.array([1, 1e-6, 1e-7])).needed == 10
    assert Run(steps, np.array([1, 0.1, np.nan])).needed == np.inf
    assert Run(steps, np.array([1, 0.1, np.inf])).diverged
