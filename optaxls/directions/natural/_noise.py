"""The noise of posterior samples: a function of a key and of the number of draws."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.types import Params

_IMPLEMENTATION = "threefry2x32"


def as_key_data(key: Any) -> jax.Array:
    """Returns two words of uint32, which a state can hold as an array, from any key.

    The words are those of one generator, whatever ``key`` is of: draws are then the
    same under ``vmap`` and after a checkpoint on another machine.
    """
    if isinstance(key, bool) or isinstance(key, (str, float)) or key is None:
        raise TypeError(f"key must be a jax.random.key or an integer, got {key!r}")
    if isinstance(key, numbers.Integral):
        return jax.random.key_data(jax.random.key(int(key), impl=_IMPLEMENTATION))
    key = jnp.asarray(key)
    if key.ndim == 0 and not trees.is_key(key):
        # An integer of optax.inject_hyperparams, which may have become a float.
        seed = jax.random.key(key.astype(jnp.int32), impl=_IMPLEMENTATION)
        return jax.random.key_data(seed)
    data = jax.random.key_data(key) if trees.is_key(key) else key
    if data.shape == (2,):
        return data.astype(jnp.uint32)
    return jax.random.bits(key, (2,), jnp.uint32)


def standard_normal(
    key_data: jax.Array, count: jax.Array, like: Params, num_samples: int
) -> Params:
    """Draws of N(0, 1) like the trained leaves, with a leading axis of samples.

    The first draws of many are those of few. Integer leaves become zeros.
    """
    key = jax.random.wrap_key_data(key_data, impl=_IMPLEMENTATION)
    key = jax.random.fold_in(key, count)
    leaves, treedef = jax.tree.flatten(like)

    def one(index: jax.Array) -> list[jax.Array]:
        keys = jax.random.split(jax.random.fold_in(key, index), max(len(leaves), 1))
        return [
            jax.random.normal(leaf_key, leaf.shape, leaf.dtype)
            if trees.is_inexact(leaf)
            else jnp.zeros(leaf.shape, leaf.dtype)
            for leaf_key, leaf in zip(keys, leaves, strict=False)
        ]

    return treedef.unflatten(jax.vmap(one)(jnp.arange(num_samples)))


def require_real(caller: str, params: Params) -> None:
    """Raises TypeError, naming the leaf, if params are complex."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"{caller}: params{jax.tree_util.keystr(path)} is complex, and the "
                "posterior is one of real params. Train real and imaginary part as two "
                "leaves, and put them together inside the loss."
            )


def num_samples_of(sample_grads: Params | None) -> int:
    """The length of the leading axis of gradients at samples; 1 without them."""
    leaves = trees.inexact_leaves(sample_grads)
    return leaves[0].shape[0] if leaves else 1
