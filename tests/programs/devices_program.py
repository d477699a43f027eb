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
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import optaxls
from optaxls.diagnostics import gradient_sample
from tests.contract.finite_sum_rows import ROWS as FINITE_SUMS

STEPS = 6
LAYOUTS = ("data parallel", "sharded params")
SEARCHES = ("sls", "ponos", "adam_sls", "salsa", "auto")


def plane_search():
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_plane(),
        optaxls.scale_by_line_search(optaxls.armijo(1e-4), optaxls.constant(1.0)),
    )


def accelerated_search():
    known = {"growth_constant": 2.0, "strong_convexity": 0.1}
    return optaxls.accelerated_sgd(smoothness=None, restart=True, **known)


OPTIMIZERS = {
    "auto": lambda: optaxls.auto(),
    "sls": lambda: optaxls.sls(steps_per_epoch=10),
    "sls_goldstein": lambda: optaxls.sls_goldstein(steps_per_epoch=10),
    "sls_momentum": lambda: optaxls.sls_momentum(),
    "sls_extragradient": lambda: optaxls.sls_extragradient(steps_per_epoch=10),
    "sps": lambda: optaxls.sps(max_step_size=1.0),
    "ponos": lambda: optaxls.ponos(),
    "adam_sls": lambda: optaxls.adam_sls(steps_per_epoch=10, b1=0.9),
    "adam_sps": lambda: optaxls.adam_sps(max_step_size=0.1),
    "adam_ponos": lambda: optaxls.adam_ponos(),
    "salsa": lambda: optaxls.salsa(),
    "lbfgs": lambda: optaxls.lbfgs(),
    "sign_descent": lambda: optaxls.sign_descent(1e-2),
    "hessian_free": lambda: optaxls.hessian_free(),
    "stochastic_lbfgs": lambda: optaxls.stochastic_lbfgs(memory_size=4),
    "accelerated_search": accelerated_search,
    "plane_search": plane_search,
    # Steps far longer, which it takes at first else, make rounding count.
    "multidimensional": lambda: optaxls.multidimensional_backtracking(
        initial_step_size=1.0
    ),
} | {name: row.make for name, row in FINITE_SUMS.items()}
COLLECTIVE = re.compile(
    r"= (\S+) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(?:-start)?\("
)


def loss_fn(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)


def problem(dtype):
    """An MLP on 128 samples; every size divides by eight."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    params = {"a": draw(32, 64) / 6, "b": draw(64, 16) / 8}
    return params, draw(128, 32), draw(128, 16)


def collectives(program: str) -> list[str]:
    """Kind and result shape, without layouts, of every collective in a piece of HLO."""
    found = COLLECTIVE.findall(program)
    return sorted(f"{kind} {re.sub(r'{.*?}', '', shape)}" for shape, kind in found)


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


def measure(name: str, layout: str, mesh, dtype) -> dict:
    optimizer = OPTIMIZERS[name]()
    params, x, y = problem(dtype)
    step = jax.jit(optaxls.make_step(loss_fn, optimizer))
    one = trajectory(step, params, optimizer.init(params), x, y)

    split = NamedSharding(mesh, P("data"))
    whole = NamedSharding(mesh, P())
    params = jax.device_put(params, split if layout == LAYOUTS[1] else whole)
    x, y = jax.device_put((x, y), split)
    state = jax.jit(optimizer.init)(params)
    program = step.lower(params, state, x, y).compile().as_text() or ""
    forward = jax.jit(loss_fn).lower(params, x, y).compile().as_text() or ""
    first = step(params, state, x, y)
    many = trajectory(step, params, state, x, y)

    def distance(a, b):
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))

    return {
        "value": distance(many[0], one[0]),
        "step_size": distance(many[1], one[1]),
        "params": max(
            distance(np.asarray(many[2][key]), np.asarray(one[2][key])) for key in "ab"
        ),
        "loop": in_loops(program),
        "scalar_rounds": scalar_rounds(program),
        "forward": collectives(forward),
        "params_sharding_kept": shardings(first.params) == shardings(params),
        "state_sharding_kept": shardings(many[3]) == shardings(first.opt_state),
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


def main(dtype: str) -> None:
    """float64 is measured in one layout only: it tells rounding from mistakes."""
    wide = dtype == "float64"
    jax.config.update("jax_enable_x64", wide)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    layouts = LAYOUTS[:1] if wide else LAYOUTS
    result = {
        f"{name}, {layout}": measure(name, layout, mesh, dtype)
        for name in OPTIMIZERS
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
