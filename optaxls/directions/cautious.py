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


def _share_kept(kept: Any, dtype: Any) -> jax.Array:
    leaves = jax.tree.leaves(kept)
    number = sum(leaf.size for leaf in leaves)
    # Counted in integers: exact, and no copy of the mask as floats.
    counts = [jnp.sum(leaf, dtype=jnp.uint32).astype(dtype) for leaf in leaves]
    return sum(counts, jnp.zeros((), dtype)) / max(number, 1)


def cautious(*, name: str = "cautious") -> optax.GradientTransformationExtraArgs:
    r"""Drops the coordinates that would climb the present batch.

    :math:`d_j \leftarrow d_j\,[d_j g_j < 0] / \max(s, 0.1)` with :math:`s` the share of
    coordinates kept. A direction with momentum (Adam, Lion, heavy ball) may point
    uphill on a batch, where a search makes no step; what is left of it never does.

    Args:
      name: the rule that error messages speak of.

    Returns:
      A transformation of the direction, minus sign included: it stands after
      ``optax.scale(-1.)`` and before the search. ``update`` needs ``grad``.

    Raises:
      TypeError, from ``update``: ``grad`` is missing.

    Cost:
      No evaluation, no state; one pass over the direction.

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
        longer = 1 / jnp.maximum(_share_kept(kept, dtype), 0.1)

        def leaf(d, keep):
            if not keep.size:
                return d
            product = longer.astype(jnp.real(d).dtype) * d
            return jnp.where(keep, product, -trees.zeros_like(d))

        # The sign comes last, where the search after it cancels it; the zeros that it
        # turns are made negative beforehand.
        ascent = jax.tree.map(leaf, trees.reverse(held), kept)
        return trees.reverse(ascent), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )
