"""Eight host devices: the same trajectory as one, and no traffic but the forward's."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import optaxls
from tests.programs.devices_program import LAYOUTS, OPTIMIZERS, SEARCHES

PROGRAM = pathlib.Path(__file__).parents[1] / "programs" / "devices_program.py"
MESHES_PROGRAM = PROGRAM.with_name("meshes_program.py")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def measured(argument: str, program: pathlib.Path = PROGRAM) -> dict:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(PROGRAM.parents[2]),
    }
    done = subprocess.run(
        [sys.executable, str(program), argument],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trajectory_faults(found: dict, tolerance: float) -> list[str]:
    """Where the mesh leaves one device's trajectory, or a sharding changes."""
    faults = [
        f"{quantity} is off by {found[quantity]}"
        for quantity in ("value", "step_size", "params")
        if not found[quantity] < tolerance
    ]
    kept = ("params_sharding_kept", "state_sharding_kept")
    return faults + [name for name in kept if not found[name]]


def traffic_faults(name: str, layout: str, found: dict) -> list[str]:
    """A trial communicates what a forward pass does: one scalar all-reduce.

    Params are gathered only where the forward pass gathers them.
    """
    faults = []
    searches = name not in ("sps", "adam_sps", "sign_descent")
    expected = found["forward"] if searches else []
    # The trials of some are gradients, as conjugate gradients' products are.
    gradients = name in ("sls_extragradient", "hessian_free", "lbfgs")
    if not gradients and found["loop"] != expected:
        faults.append(f"the loop communicates {found['loop']}, not {expected}")
    # The norm of the gradient, the share of it that is kept, the slopes: each needs the
    # one before. Whole params have every number at hand.
    most = 0 if layout == "data parallel" else 3
    if name == "auto" and found["scalar_rounds"] > most:
        faults.append(f"{found['scalar_rounds']} all-reduces of scalars, not {most}")
    if layout == "data parallel" and found["forward"] != ["all-reduce f32[]"]:
        faults.append(f"the forward pass communicates {found['forward']}")
    return faults


def shard_map_faults(name: str, found: dict) -> list[str]:
    """Right with the mean inside the loss; a local loss is refused, not deadlocked."""
    faults = []
    if not found[f"{name}, shard_map"].get("step_size", 1.0) < 1e-5:
        faults.append(f"shard_map: {found[f'{name}, shard_map']}")
    error = found[f"{name}, shard_map with a local loss"].get("error", "no error")
    if "differs between the devices" not in error or "pmean(loss, 'data')" not in error:
        faults.append(f"a local loss under shard_map: {error}")
    return faults


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param("float32", marks=pytest.mark.long),
        # It tells rounding from mistakes, and adds nothing else.
        pytest.param("float64", marks=pytest.mark.long),
    ],
)
def test_eight_devices(dtype):
    """One test per program run: under xdist several would each pay for a run."""
    found = measured(dtype)
    faults = {}
    for name in OPTIMIZERS:
        for layout in LAYOUTS[:1] if dtype == "float64" else LAYOUTS:
            key = f"{name}, {layout}"
            faults[key] = trajectory_faults(found[key], TOLERANCE[dtype])
            if dtype == "float32":
                faults[key] += traffic_faults(name, layout, found[key])
    for name in SEARCHES if dtype == "float32" else ():
        faults[f"{name}, shard_map"] = shard_map_faults(name, found)
    sample = found["gradient_sample"]
    if not sample["distance"] < 1e-5:
        faults["gradient_sample"] = [f"off by {sample['distance']}"]
    # Examples stay where they are; gradients are summed.
    if any("all-reduce" not in kind for kind in sample["collectives"]):
        faults["gradient_sample"] = sample["collectives"]
    assert not {key: fault for key, fault in faults.items() if fault}


@pytest.mark.parametrize("rows", ["quick", pytest.param("all", marks=pytest.mark.long)])
def test_meshes_with_explicit_and_automatic_axes(rows):
    """Sharded params and batches, and members under vmap: as on one device."""
    found = measured(rows, MESHES_PROGRAM)
    assert found
    assert not {key: off for key, off in found.items() if not off < 1e-4}


def test_a_local_loss_is_refused_with_what_to_write():
    """Also on a mesh of one device: what counts is that the value may differ."""
    mesh = jax.make_mesh((1,), ("data",))
    optimizer = optaxls.sls(steps_per_epoch=10)
    step = optaxls.make_step(lambda w, x: jnp.mean((x - w) ** 2), optimizer)
    w, x = jnp.zeros(()), jnp.ones(8)
    P = jax.sharding.PartitionSpec
    x = jax.device_put(x, jax.NamedSharding(mesh, P("data")))
    specs = (P(), P(), P("data"))
    mapped = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=P())
    with pytest.raises(TypeError, match=r"axis 'data'.*pmean\(loss, 'data'\)"):
        jax.jit(mapped)(w, optimizer.init(w), x)


@pytest.mark.slow
def test_pmap_with_the_mean_inside_the_loss_is_the_step_on_all_data():
    """Here on one device, along which the axis has one member."""
    optimizer = optaxls.sls(steps_per_epoch=10)

    def loss(w, x):
        return jax.lax.pmean(jnp.mean((x - w) ** 2), "data")

    w, x = jnp.zeros((1,)), jnp.ones((1, 8))
    state = jax.tree.map(lambda leaf: leaf[None], optimizer.init(w[0]))
    mapped = jax.pmap(optaxls.make_step(loss, optimizer), axis_name="data")
    alone = optaxls.make_step(lambda w, x: jnp.mean((x - w) ** 2), optimizer)
    many = mapped(w, state, x)
    one = alone(w[0], optimizer.init(w[0]), x[0])
    assert many.params[0] == pytest.approx(float(one.params))
