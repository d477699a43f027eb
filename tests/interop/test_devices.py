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
from tests.programs.devices_program import LAYOUTS, RULES, SEARCHES
from tests.programs.mesh_rows import (
    LATER,
    POSTERIORS,
    VECTORS,
    make_step,
    problem,
)
from tests.programs.meshes_program import placed_loss

PROGRAM = pathlib.Path(__file__).parents[1] / "programs" / "devices_program.py"
MESHES_PROGRAM = PROGRAM.with_name("meshes_program.py")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def measured(argument: str, program: pathlib.Path = PROGRAM) -> dict:
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {
        # LLVM's passes take half of the time to compile, and change no collective.
        "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(PROGRAM.parents[2]),
    }
    done = subprocess.run(
        [sys.executable, str(program), argument],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
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


# These test nothing; these have trials that are gradients, as conjugate gradients'
# products are.
UNTESTED = {"auto", "sps", "adam_sps", "sign_descent", "ivon", "vogn", "von", "iblr"}
WITH_GRADIENTS = {"sls_extragradient", "hessian_free", "lbfgs", "owl_qn", "pqn", "spg"}
WITH_GRADIENTS |= {"two_metric"}
# These have more sums in a loop: a trial's length and penalty, or products of pairs.
WITH_SUMS = {"prox_sgd", "prox_adam", "projected_sls", "fista", "stochastic_lbfgs"}


def without_scalars(found: list[str]) -> list[str]:
    return [kind for kind in found if not kind.endswith("[]")]


def loop_faults(name: str, found: dict) -> list[str]:
    """A trial communicates what a forward pass does: one scalar all-reduce.

    Params are gathered only where the forward pass gathers them.
    """
    loop, expected = found["loop"], found["forward"]
    if name in UNTESTED:
        expected = []
    if name in WITH_SUMS:
        loop, expected = without_scalars(loop), without_scalars(expected)
    if name in WITH_GRADIENTS or loop == expected:
        return []
    return [f"the loop communicates {loop}, not {expected}"]


def gather_faults(name: str, found: dict) -> list[str]:
    """Nothing else is gathered than the params, once for each gradient and trial."""
    # Gradients at the params and, for SVRG, the snapshot.
    most = 3 if "svrg" in name else 2
    gathered = [kind for kind in without_scalars(found["program"])
                if not kind.startswith("all-reduce")]  # fmt: skip
    needed = without_scalars(found["forward"])
    if name in POSTERIORS:
        needed = [kind.replace("[", "[2,") for kind in needed]
    return [
        f"{gathered.count(kind)} times {kind}"
        for kind in sorted(set(gathered))
        if not gathered.count(kind) <= most * needed.count(kind)
    ]


def traffic_faults(name: str, layout: str, found: dict) -> list[str]:
    faults = loop_faults(name, found)
    if name in LATER and name not in VECTORS:
        faults += gather_faults(name, found)
    # The norm of the gradient, the share of it that is kept, the slopes: each needs the
    # one before. Whole params have every number at hand.
    most = 0 if layout == LAYOUTS[0] else 3
    if name == "auto" and found["scalar_rounds"] > most:
        faults.append(f"{found['scalar_rounds']} all-reduces of scalars, not {most}")
    if layout == LAYOUTS[0] and found["forward"] != ["all-reduce f32[]"]:
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
    for name in RULES:
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


@pytest.mark.slow
def test_a_row_of_each_later_family_with_sharded_params():
    """As on one device; states stay split; nothing but the params is gathered."""
    found = measured("families")
    faults = {
        name: trajectory_faults(row, TOLERANCE["float32"])
        + traffic_faults(name, LAYOUTS[1], row)
        for name, row in found.items()
    }
    assert found and not {name: fault for name, fault in faults.items() if fault}


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["quick", pytest.param("all", marks=pytest.mark.long)])
def test_meshes_with_explicit_and_automatic_axes(rows):
    """Sharded params and batches, and members under vmap: as on one device."""
    found = measured(rows, MESHES_PROGRAM)
    assert found
    assert not {key: off for key, off in found.items() if not off < 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VECTORS))
def test_one_vector_of_all_params_is_taken_from_explicit_axes_and_put_back(name):
    """Traced, on a mesh of one device: explicit axes are types, whatever their size."""
    mesh = jax.make_mesh((1, 1), ("data", "model"))
    optimizer = LATER[name]()
    params, x, y = problem(jnp.float32, few=True)
    with jax.set_mesh(mesh):
        split = jax.NamedSharding(mesh, jax.P(None, "model"))
        params = {"a": jax.device_put(params["a"], split), "b": params["b"]}
        state = optimizer.init(params)
        step = make_step(name, optimizer, placed_loss(mesh, "model"))
        after = jax.eval_shape(step, params, state, x, y)
    assert after.params["a"].sharding.spec == split.spec


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
