"""Run as a program on eight host devices by ``test_devices.py``; prints JSON.

Meshes of two axes, explicit (what ``jax.make_mesh`` makes) and automatic: for each
optimizer and layout how far its step sizes and losses are from those on one device.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import optaxls
from tests.programs.mesh_rows import (
    LATER,
    OPTIMIZERS,
    VECTORS,
    loss_fn,
    make_step,
    problem,
)

STEPS = 3
LAYOUTS = {
    "whole": (P(), P()),
    "data": (P("data"), P("data")),
    "model": (P(None, "model"), P("model", None)),
}
ARMIJO = (optaxls.armijo(0.1), optaxls.constant(4.0))


def candidates():
    search = optaxls.parallel_candidates(4, 0.5)
    rule = optaxls.scale_by_line_search(*ARMIJO, search=search)
    return optax.chain(optax.scale(-1.0), rule)


def guarded():
    return optax.chain(
        optaxls.guarded(optax.scale_by_adam()),
        optax.scale(-1.0),
        optaxls.cautious(),
        optaxls.scale_by_line_search(*ARMIJO),
    )


RULES = OPTIMIZERS | LATER | {"candidates": candidates, "guarded": guarded}
QUICK = (("auto", "model"), ("adam_sls", "data"), ("candidates", "model"))
QUICK += (("stochastic_lbfgs", "model"),)
# Gradients of single examples would be split twice along the axis of the examples.
LEFT_OUT = {"vogn": {"data"}}
MEMBERS = ("sls", "ponos", "adam_sls", "candidates")


def placed_loss(mesh, layout):
    """The loss with the shardings that explicit axes want to be told."""
    if mesh.axis_types[0] == AxisType.Auto:
        return loss_fn
    rows = NamedSharding(mesh, P("data", None))

    def loss(params, x, y):
        a, b = params["a"], params["b"]
        if layout == "data":
            a, b = jax.sharding.reshard((a, b), P(None, None))
        # A single example, whose gradient VOGN wants, lies on all devices.
        spread = rows if len(x) > 1 else NamedSharding(mesh, P(None, None))
        out = jnp.matmul(jnp.tanh(x @ a), b, out_sharding=spread)
        return jnp.mean((out - y) ** 2)

    return loss


def step_sizes(step, params, state, x, y):
    """Step sizes and losses."""
    found = []
    for _ in range(STEPS):
        params, state, value, _, report = step(params, state, x, y)
        found.append(np.stack([report["step_size"], value]))
    return np.array(found)


def distance(many, one) -> float:
    return float(np.max(np.abs(many - one) / np.maximum(np.abs(one), 1e-30)))


def laid_out(name: str, layout: str, mesh) -> float:
    optimizer = RULES[name]()
    params, x, y = problem(jnp.float32, few=name in VECTORS)
    step = make_step(name, optimizer)
    one = step_sizes(step, params, optimizer.init(params), x, y)
    with jax.set_mesh(mesh):
        params = {
            key: jax.device_put(params[key], NamedSharding(mesh, spec))
            for key, spec in zip("ab", LAYOUTS[layout], strict=True)
        }
        x, y = jax.device_put((x, y), NamedSharding(mesh, P("data", None)))
        step = make_step(name, optimizer, placed_loss(mesh, layout))
        return distance(step_sizes(step, params, optimizer.init(params), x, y), one)


def members(name: str, mesh, spread: bool) -> float:
    """Eight models under ``vmap``: spread over devices, or each of them sharded."""
    optimizer = RULES[name]()
    params, x, y = problem(jnp.float32)
    sizes = jnp.arange(1.0, 9.0)[:, None, None] / 4
    params = jax.tree.map(lambda leaf: sizes * leaf, params)
    axes = (0, 0, None, None)
    step = jax.jit(jax.vmap(optaxls.make_step(loss_fn, optimizer), axes))
    state = jax.vmap(optimizer.init)(params)
    one = step_sizes(step, params, state, x, y)
    put = lambda tree, *spec: jax.device_put(tree, NamedSharding(mesh, P(*spec)))  # noqa: E731
    with jax.set_mesh(mesh):
        if spread:
            params, state, x, y = (
                put(params, "data"),
                put(state, "data"),
                put(x),
                put(y),
            )
        else:
            specs = zip("ab", LAYOUTS["model"], strict=True)
            params = {key: put(params[key], None, *spec) for key, spec in specs}
            state = jax.vmap(optimizer.init)(params)
            x, y = put((x, y), "data")
            step = placed_loss(mesh, "model")
            step = jax.jit(jax.vmap(optaxls.make_step(step, optimizer), axes))
        return distance(step_sizes(step, params, state, x, y), one)


def main(rows: str) -> None:
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    if rows == "quick":
        result = {f"{name}, {at}": laid_out(name, at, mesh) for name, at in QUICK}
        result["sls, members"] = members("sls", mesh, False)
        print(json.dumps(result))
        return
    result = {}
    for kind in (AxisType.Explicit, AxisType.Auto):
        mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
        # Of the later ones, ``devices_program`` measures automatic axes.
        names = RULES if kind == AxisType.Explicit else RULES.keys() - LATER.keys()
        for name in names:
            for layout in LAYOUTS.keys() - LEFT_OUT.get(name, set()):
                result[f"{name}, {layout}, {kind}"] = laid_out(name, layout, mesh)
        for name in MEMBERS:
            for spread in (True, False):
                key = f"{name}, members, spread={spread}, {kind}"
                result[key] = members(name, mesh, spread)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
