"""How much an update resembles its own sign."""

from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees


def sign_likeness(update: Any) -> jax.Array:
    r"""Measures how near an update is to sign descent, as a cosine.

    :math:`|u|_1 / (\sqrt d\,|u|_2)` is the cosine between the d numbers u (``update``)
    and their signs. For Adam, u is :math:`m / \sqrt v`. A sign gives 1, normal random
    numbers give 0.80, and an update with few large entries gives less.

    Args:
      update: a pytree of d numbers, such as ``mu / sqrt(nu)`` of Adam's state.

    Returns:
      ``()``, in [0, 1]; 0 for an update of 0.

    Raises:
      ValueError: ``update`` has no floating-point array.

    Cost:
      It reads the update three times and evaluates no loss.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import sign_likeness
      >>> print(sign_likeness(jnp.array([-2.0, 2.0])))
      1.0
      >>> print(sign_likeness(jnp.array([1.0, 0.0, 0.0, 0.0])))
      0.5

    Reference:
      Kunstner et al., 2023, arXiv:2304.13960.
    """
    leaves = trees.inexact_leaves(update)
    if not leaves:
        raise ValueError("update must have a floating-point array, got none")
    dtype = trees.scalar_dtype(update)
    leaves = [jnp.abs(leaf).astype(dtype) for leaf in leaves]
    # Scaled first: squares of numbers below 1e-19 are 0 in float32.
    largest = jnp.max(jnp.stack([jnp.max(leaf, initial=0) for leaf in leaves]))
    leaves = [leaf / jnp.where(largest > 0, largest, 1) for leaf in leaves]
    length = jnp.sqrt(trees.sqnorm(leaves, dtype))
    size = sum(leaf.size for leaf in leaves)
    total = sum(jnp.sum(leaf) for leaf in leaves)
    # A cosine may not exceed 1, but rounding gives 1.0000001.
    return jnp.minimum(total / jnp.where(length > 0, length * jnp.sqrt(size), 1), 1)
