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

    Integer leaves become zeros. A leaf has its own key, and is drawn where it lies.
    """
    key = jax.random.wrap_key_data(key_data, impl=_IMPLEMENTATION)
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(jax.random.fold_in(key, count), max(len(leaves), 1))

    def draw(leaf_key: jax.Array, leaf: jax.Array) -> jax.Array:
        shape = (num_samples, *leaf.shape)
        if not trees.is_inexact(leaf):
            return jnp.zeros(shape, leaf.dtype)
        return jax.random.normal(leaf_key, shape, leaf.dtype)

    return treedef.unflatten(map(draw, keys, leaves))


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
