"""How findings tell noise from interpolation."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import pytest

from optaxls.diagnostics import Estimate, GradientSample, StrongGrowth
from optaxls.diagnostics.doctor import _findings


@pytest.mark.parametrize("losses, regime", [
    ([1.0, 0.8, 0.5], "undecided"),  # still coming down
    ([1.0, 0.51, 0.5], "noise"),
    ([1.0, 2e-4, 1e-4], "interpolation"),
])  # fmt: skip
def test_what_is_slow_is_not_noise(losses, regime):
    """Half of the loss is left and no floor is certain: has it stopped falling?"""
    values = jnp.outer(jnp.array(losses), jnp.ones(40))
    point = jnp.ones(3)
    samples = GradientSample(values, values, values, point, point / 40, jnp.ones(()))
    none = Estimate(jnp.zeros(()), jnp.zeros(()), jnp.ones(()))
    growth = StrongGrowth(none, none, jnp.ones(()))
    run: Any = SimpleNamespace(samples=samples)
    measured = _findings.Measured(run, growth, None, 0.0, batch_size=20)
    assert _findings.regime(measured) == regime


@pytest.mark.parametrize("rho, losses, batch_size, expected", [
    (1.5, [1.0, 2e-4, 1e-4], 1, "also of plain Nesterov"),
    (101.0, [1.0, 2e-4, 1e-4], 200, "also of plain Nesterov"),
    (101.0, [1.0, 2e-4, 1e-4], 10, "Plain Nesterov momentum may diverge"),
    (101.0, [1.0, 2e-4, 1e-4], 10, "accelerated_sgd(growth_constant=11, ...)"),
    (1.5, [1.0, 0.51, 0.5], 10, "cannot be expected: noise"),
])  # fmt: skip
def test_growth_tells_whether_acceleration_can_be_expected(
    rho, losses, batch_size, expected
):
    values = jnp.outer(jnp.array(losses), jnp.ones(40))
    point = jnp.ones(3)
    samples = GradientSample(values, values, values, point, point / 40, jnp.ones(()))
    none = Estimate(jnp.zeros(()), jnp.zeros(()), jnp.ones(()))
    fitted = Estimate(*(jnp.asarray(rho),) * 3)
    growth = StrongGrowth(fitted, none, jnp.asarray(rho))
    run: Any = SimpleNamespace(samples=samples)
    measured = _findings.Measured(run, growth, None, 0.0, batch_size)
    strong, _ = _findings._growth(measured)
    assert expected in strong.meaning
