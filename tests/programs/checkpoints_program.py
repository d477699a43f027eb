"""Saves every optimizer's state from a mesh of four devices, restores it on two.

Run by ``test_checkpoints`` in a process of its own: the number of devices is fixed
when jax starts. Writes into the folder named on the command line, prints JSON.
"""

import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import optaxls
from tests.problems import RULES
from tests.rows import VARIANTS

STEPS = 3


def loss(params: Any) -> jax.Array:
    curvature = jnp.arange(1.0, 9.0)
    return 0.5 * jnp.sum(curvature * params["w"] ** 2) + params["b"] ** 2


def mesh_of(num_devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:num_devices]), ("x",))


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Shapes and shardings: the last axis split over the mesh where it can be."""

    def leaf_target(leaf: Any) -> jax.ShapeDtypeStruct:
        splits = leaf.ndim > 0 and leaf.shape[-1] % mesh.size == 0
        spec = PartitionSpec(*[None] * (leaf.ndim - 1), "x") if splits else None
        spec = spec or PartitionSpec()
        sharding = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(leaf_target, tree)


def place(tree: Any, mesh: Mesh) -> Any:
    targets = abstract(tree, mesh)
    return jax.tree.map(lambda x, t: jax.device_put(x, t.sharding), tree, targets)


def same_bits(left: Any, right: Any) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(
        a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in pairs
    )


def run(name: str, folder: pathlib.Path, checkpointer: Any) -> dict[str, Any]:
    optimizer = RULES[name].make()
    step = jax.jit(optaxls.make_step(loss, optimizer))

    def train(tree: Any) -> Any:
        for _ in range(STEPS):
            params, state, *_ = step(tree["params"], tree["state"])
            tree = {"params": params, "state": state}
        return tree

    params = {"w": jnp.linspace(-1.0, 2.0, 8), "b": jnp.array(0.5)}
    four, two = mesh_of(4), mesh_of(2)
    saved = train(place({"params": params, "state": optimizer.init(params)}, four))
    checkpointer.save(folder / name, saved)
    checkpointer.wait_until_finished()
    targets = abstract(jax.eval_shape(lambda: saved), two)
    restored = checkpointer.restore(folder / name, targets)
    wanted = [target.sharding for target in jax.tree.leaves(targets)]
    found = [leaf.sharding for leaf in jax.tree.leaves(restored)]
    on, moved = train(restored), train(place(saved, two))
    return {
        "same_state": same_bits(restored, saved),
        "on_two_devices": found == wanted,
        "same_structure": jax.tree.structure(restored) == jax.tree.structure(saved),
        "goes_on_as_if_moved": same_bits(on, moved),
        "was_split_over": len(saved["params"]["w"].sharding.device_set),
        "loss": [float(loss(p)) for p in (params, on["params"])],
    }


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    with ocp.StandardCheckpointer() as checkpointer:
        rows = [name for name in RULES if name not in VARIANTS]
        print(json.dumps({name: run(name, folder, checkpointer) for name in rows}))


if __name__ == "__main__":
    main()
