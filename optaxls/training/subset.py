"""Training some of the leaves."""

from typing import Any

import jax
import optax


def on_subset(
    optimizer: optax.GradientTransformation, mask: Any
) -> optax.GradientTransformationExtraArgs:
    """Trains only the masked leaves; the search still sees the full tree.

    The direction of the other leaves is zeroed before the optimizer and after it
    (weight decay would move them). ``optax.masked`` around a search fails instead:
    ``grad`` and ``value_fn`` are not masked with the updates.

    Args:
      optimizer: any optax optimizer.
      mask: tree of Python bools with the structure of params or a prefix of it, True
        where a leaf is trained; or a function from params to one.

    Returns:
      A transformation that needs what ``optimizer`` needs.

    Cost:
      That of ``optimizer``.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.on_subset(optaxls.sps(), {"body": False, "head": True})
      >>> w = {"body": jnp.array(2.0), "head": jnp.array(2.0)}
      >>> updates, _ = optimizer.update(
      ...     w, optimizer.init(w), w, value=jnp.array(4.0), grad=w)
      >>> print(updates["body"], updates["head"])
      0.0 -4.0

    Reference:
      Ours.
    """
    if callable(mask):
        freeze_mask = lambda params: jax.tree.map(lambda m: not m, mask(params))  # noqa: E731
    else:
        freeze_mask = jax.tree.map(lambda m: not m, mask)
    frozen = optax.masked(optax.set_to_zero(), freeze_mask)
    return optax.chain(frozen, optimizer, frozen)
