"""Run as a program on eight host devices by ``test_devices.py``; prints JSON.

For each optimizer and layout (data parallel, params sharded too): how far six steps on
the mesh are from six steps on one device, and which collectives stand in the compiled
search loop and in a forward pass.
"""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import optaxls
from optaxls.diagnostics import gradient_sample
from tests.programs.mesh_rows import (
    FAMILIES,
    LATER,
    OPTIMIZERS,
    VECTORS,
    loss_fn,
    make_step,
    problem,
)

STEPS = 6
LAYOUTS = ("data parallel", "sharded params")
SEARCHES = ("sls", "ponos", "adam_sls", "salsa", "auto")
RULES = OPTIMIZERS | LATER
COLLECTIVE = re.compile(
    r"= (\S+|\(.*?\)) "
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


def collectives(program: str) -> list[str]:
    """Kind and result shape, without layouts, of every collective in a piece of HLO.

    One that carries several arrays counts for each of them.
    """
    found = COLLECTIVE.findall(program)
    return sorted(
        f"{kind} {shape}"
        for shapes, kind in found
        for shape in re.findall(r"\w+\[[\d,]*\]", shapes)
    )


def in_loops(program: str) -> list[str]:
    """The collectives inside the bodies of the program's while loops."""
    inside = []
    for body in set(re.findall(r"body=%([\w.\-]+)", program)):
        start = program.index(f"\n%{body} ")
        inside += collectives(program[start : program.index("\n}", start)])
    return inside


def scalar_rounds(program: str) -> int:
    """All-reduces of scalars alone, a step, outside of loops and branches."""
    entry = program[program.index("\nENTRY ") :]
    sums = re.findall(r"= (\S+|\(.*?\)) all-reduce(?:-start)?\(", entry)
    shapes = [re.findall(r"[fusp]\w*\[([\d,]*)\]", found) for found in sums]
    return sum(not any(sizes) for sizes in shapes)


def trajectory(step, params, state, x, y):
    values, steps, params_path = [], [], None
    for _ in range(STEPS):
        params, state, value, _, report = step(params, state, x, y)
        values.append(float(value))
        steps.append(float(report["step_size"]))
        params_path = params
    return np.array(values), np.array(steps), jax.device_get(params_path), state


def shardings(tree):
    return [str(leaf.sharding) for leaf in jax.tree.leaves(tree)]


def on_mesh(state, mesh):
    """The numbers of a new state, which lie on one device, on all of them."""
    whole = NamedSharding(mesh, P())

    def placed(leaf):
        return (
            leaf if len(leaf.sharding.device_set) > 1 else jax.device_put(leaf, whole)
        )

    return jax.tree.map(placed, state)


def measure(name: str, layout: str, mesh, dtype) -> dict:
    optimizer = RULES[name]()
    params, x, y = problem(dtype, few=name in VECTORS)
    step = make_step(name, optimizer)
    one = trajectory(step, params, optimizer.init(params), x, y)

    split = NamedSharding(mesh, P("data"))
    whole = NamedSharding(mesh, P())
    params = jax.device_put(params, split if layout == LAYOUTS[1] else whole)
    x, y = jax.device_put((x, y), split)
    state = on_mesh(optimizer.init(params), mesh)
    compiled = step.lower(params, state, x, y).compile()
    program = compiled.as_text() or ""
    forward = jax.jit(loss_fn).lower(params, x, y).compile().as_text() or ""
    first = compiled(params, state, x, y)
    kept = shardings(first.opt_state) == shardings(state)
    many = trajectory(compiled if kept else step, params, state, x, y)

    def distance(a, b):
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))

    return {
        "value": distance(many[0], one[0]),
        "step_size": distance(many[1], one[1]),
        "params": max(
            distance(np.asarray(many[2][key]), np.asarray(one[2][key])) for key in "ab"
        ),
        "loop": in_loops(program),
        "program": collectives(program),
        "scalar_rounds": scalar_rounds(program),
        "forward": collectives(forward),
        "params_sharding_kept": shardings(first.params) == shardings(params),
        "state_sharding_kept": kept and shardings(many[3]) == shardings(state),
    }


def in_shard_map(name: str, mesh, loss) -> dict:
    """The step under ``shard_map``: distance from one device, or its error."""
    optimizer = OPTIMIZERS[name]()
    params, x, y = problem(jnp.float32)
    state = optimizer.init(params)
    one = trajectory(
        jax.jit(optaxls.make_step(loss_fn, optimizer)), params, state, x, y
    )
    step = jax.jit(
        jax.shard_map(
            optaxls.make_step(loss, optimizer),
            mesh=mesh,
            in_specs=(P(), P(), P("data"), P("data")),
            out_specs=P(),
        )
    )
    try:
        many = trajectory(step, params, state, x, y)
    except (TypeError, ValueError) as error:
        return {"error": str(error)}
    return {"step_size": float(np.max(np.abs(many[1] / one[1] - 1)))}


def averaged_loss(params, x, y):
    """What every device must see: the mean over all of them."""
    return jax.lax.pmean(loss_fn(params, x, y), "data")


def sampled(mesh) -> dict:
    """Per-example gradients of examples spread over the devices."""
    params, x, y = problem(jnp.float32)

    @jax.jit
    def sample(params, x, y):
        def loss(params, example):
            return loss_fn(params, example[0][None], example[1][None])

        found = gradient_sample(loss, params, (x, y), chunk_size=16)
        return jnp.stack([found.mean_squared_norm, found.squared_mean_norm])

    one = sample(params, x, y)
    params = jax.device_put(params, NamedSharding(mesh, P()))
    x, y = jax.device_put((x, y), NamedSharding(mesh, P("data")))
    program = sample.lower(params, x, y).compile().as_text() or ""
    return {
        "distance": float(jnp.max(jnp.abs(sample(params, x, y) / one - 1))),
        "collectives": collectives(program),
    }


def main(rows: str) -> None:
    """float64 is measured in one layout only: it tells rounding from mistakes."""
    wide = rows == "float64"
    jax.config.update("jax_enable_x64", wide)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    if rows == "families":
        found = {name: measure(name, LAYOUTS[1], mesh, "float32") for name in FAMILIES}
        print(json.dumps(found))
        return
    layouts = LAYOUTS[:1] if wide else LAYOUTS
    result = {
        f"{name}, {layout}": measure(name, layout, mesh, rows)
        for name in RULES
        for layout in layouts
    }
    for name in () if wide else SEARCHES:
        result[f"{name}, shard_map"] = in_shard_map(name, mesh, averaged_loss)
        result[f"{name}, shard_map with a local loss"] = in_shard_map(
            name, mesh, loss_fn
        )
    result["gradient_sample"] = sampled(mesh)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
