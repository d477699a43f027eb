"""Eight host devices: the same trajectory as one, and no traffic but the forward's."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.devices_program import LAYOUTS, OPTIMIZERS, SEARCHES

PROGRAM = pathlib.Path(__file__).with_name("devices_program.py")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}

pytestmark = pytest.mark.slow


@functools.cache
def measured(dtype: str) -> dict:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(PROGRAM.parents[1]),
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), dtype],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [*(("float32", layout) for layout in LAYOUTS), ("float64", LAYOUTS[0])],
)
@pytest.mark.xdist_group("devices")
def test_same_trajectory_as_on_one_device(name, layout, dtype):
    found = measured(dtype)[f"{name}, {layout}"]
    for quantity in ("value", "step_size", "params"):
        assert found[quantity] < TOLERANCE[dtype], quantity
    assert found["params_sharding_kept"] and found["state_sharding_kept"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.xdist_group("devices")
def test_a_trial_communicates_what_a_forward_pass_does(name, layout):
    """One scalar all-reduce; gathered params only where the forward gathers them."""
    found = measured("float32")[f"{name}, {layout}"]
    if name in ("sps", "adam_sps", "sign_descent"):
        assert found["loop"] == []
    elif name != "sls_extragradient":  # its trials are gradients
        assert found["loop"] == found["forward"]
    if layout == "data parallel":
        assert found["forward"] == ["all-reduce f32[]"]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.xdist_group("devices")
def test_shard_map_with_the_mean_inside_the_loss(name):
    assert measured("float32")[f"{name}, shard_map"]["step_size"] < 1e-5


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.xdist_group("devices")
def test_shard_map_with_a_local_loss_is_refused_not_deadlocked(name):
    """Each device would leave the search at another trial; jax's type check says so."""
    error = measured("float32")[f"{name}, shard_map with a local loss"]["error"]
    assert "must have equal types" in error or "require replication" in error
