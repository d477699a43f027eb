"""A direction without the coordinates that climb."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import (
    descent_direction,
    hold_integers,
    require_arguments,
    require_same_leaves,
)


def _share_kept(kept: Any, held: Any, dtype: Any) -> jax.Array:
    """Of the coordinates that the direction moves; zeros are no votes."""

    def number(masks: list[Any]) -> jax.Array:
        # Counted in integers: exact, and no copy of the mask as floats.
        counts = [jnp.sum(mask, dtype=jnp.uint32).astype(dtype) for mask in masks]
        return sum(counts, jnp.zeros((), dtype))

    moving = [leaf != 0 for leaf in trees.inexact_leaves(held)]
    return number(jax.tree.leaves(kept)) / jnp.maximum(number(moving), 1)


def cautious(*, name: str = "cautious") -> optax.GradientTransformationExtraArgs:
    r"""Drops the coordinates that would climb the present batch.

    :math:`d_j \leftarrow d_j\,[d_j g_j < 0] / \max(s, 0.1)` with :math:`s` the share of
    coordinates kept, of those that d moves. A direction with momentum (Adam, Lion,
    heavy ball) may point uphill on a batch, and a search would make no step there. The
    coordinates that this transformation keeps point downhill together.

    Args:
      name: the optimizer that error messages name.

    Returns:
      A transformation of what is *added*: it comes after ``optax.scale(-1.0)`` and
      before the search. ``update`` needs ``grad``, the gradient at the params.

    Raises:
      TypeError, from ``update``: ``grad`` is missing.

    Cost:
      It evaluates nothing, has no state, and passes over the direction once.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.cautious()
      >>> d, g = jnp.array([-1.0, -1.0]), jnp.array([2.0, -3.0])
      >>> updates, _ = tx.update(d, tx.init(d), d, grad=g)
      >>> print(updates)
      [-2.  0.]

    Reference:
      Liang et al., Cautious Optimizers: Improving Training with One Line of Code,
      2024, arXiv:2411.16085.
    """

    def update(
        updates: Any, state: Any, params: Any = None, *, grad: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        del extra
        require_arguments(name, grad=grad)
        held = updates if params is None else hold_integers(updates, params)
        require_same_leaves(name, held, grad=grad)
        held = descent_direction(held, grad)

        def descends(d, g):
            if not trees.is_inexact(d):
                return jnp.zeros((0,), bool)
            # Of real numbers the signs: the product of small ones is 0.
            sign = d if jnp.iscomplexobj(d) else jnp.sign(d)
            return jnp.real(jnp.asarray(sign) * g) < 0

        kept = jax.tree.map(descends, held, grad)
        dtype = trees.scalar_dtype(held)
        longer = 1 / jnp.maximum(_share_kept(kept, held, dtype), 0.1)

        def leaf(d, keep):
            if not keep.size:
                return d
            product = longer.astype(jnp.real(d).dtype) * d
            return jnp.where(keep, product, -trees.zeros_like(d))

        # A search after this reverses the direction once more. XLA cancels the two
        # changes of sign only where this one is the last operation here. Reversed, a
        # zero would become -0.0, so zeros are made negative before.
        ascent = jax.tree.map(leaf, trees.reverse(held), kept)
        return trees.reverse(ascent), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )
