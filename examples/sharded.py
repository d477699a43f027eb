"""Several devices: sharded arrays and `jit`, and nothing else changes.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m examples.sharded

The flag makes four devices of one CPU. The batch is spread over all devices, and so are
the weights, and with them the average of the weights that is kept.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import optaxls

WIDTH = 256


def loss_fn(params, x, y):
    """Mean squared error of a network with one hidden layer."""
    return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - y) ** 2)


def data(rows=1024, features=32):
    """Inputs, and what a sine makes of them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), np.float32)
    y = np.sin(x @ rng.standard_normal((features, 1), np.float32))
    return x, y


def initial_params(features):
    """Random weights; the last layer starts at 0."""
    first = jax.random.normal(jax.random.key(0), (features, WIDTH))
    return {"in": first / features**0.5, "out": jnp.zeros((WIDTH, 1))}


def train(mesh, steps):
    """Trains over the devices of `mesh`; the losses on the way, and what is kept.

    The last loss is that of the params that are kept, an average of the run's tail.
    """
    rows = NamedSharding(mesh, P("devices"))
    # Hidden units lie on different devices: columns of one matrix, rows of the other.
    layout = {"in": NamedSharding(mesh, P(None, "devices")), "out": rows}

    x, y = data()
    params = jax.device_put(initial_params(x.shape[1]), layout)
    x, y = jax.device_put((x, y), rows)
    optimizer = optaxls.auto()
    # Jitted, so that the optimizer's state gets the layout of the params.
    state = jax.jit(optimizer.init)(params)
    step = jax.jit(optaxls.make_step(loss_fn, optimizer), donate_argnums=(0, 1))
    losses = []
    for _ in range(steps):
        params, state, value, _, _ = step(params, state, x, y)
        # Read at once: the CPU deadlocks if steps of several devices overlap.
        losses.append(float(value))
    kept = jax.jit(optaxls.eval_params)(state, params)
    return [*losses, float(jax.jit(loss_fn)(kept, x, y))], kept


def main(steps=200):
    """Trains on all devices and on one; returns the losses of both."""
    devices = jax.devices()
    automatic = (AxisType.Auto,)
    everywhere = jax.make_mesh((len(devices),), ("devices",), axis_types=automatic)
    alone = jax.make_mesh((1,), ("devices",), axis_types=automatic, devices=devices[:1])
    many, kept = train(everywhere, steps)
    one, _ = train(alone, steps)
    shard = kept["in"].addressable_shards[0].data.shape
    print(f"{len(devices)} devices, each with {shard} of {kept['in'].shape} weights")
    print(f"loss {many[0]:.3f} at first, {many[-1]:.5f} after {steps} steps")
    print(f"on one device            {one[-1]:.5f}")
    return many, one


if __name__ == "__main__":
    main()
