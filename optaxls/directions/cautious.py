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


def _product_sign(d: Any, g: Any) -> Any:
    """The sign of Re(d g) for each coordinate; of integers there are none."""
    if not trees.is_inexact(d):
        return jnp.zeros((0,))
    # Of real numbers the signs: the product of small ones is 0.
    sign = d if jnp.iscomplexobj(d) else jnp.sign(d)
    return jnp.sign(jnp.real(jnp.asarray(sign) * g))


def cautious(*, name: str = "cautious") -> optax.GradientTransformationExtraArgs:
    r"""Drops the coordinates that would climb the present batch.

    :math:`d_j \leftarrow d_j\,[d_j g_j \le 0] / \max(s, 0.1)`. The share s is that of
    the coordinates with :math:`d_j g_j < 0` among those with :math:`d_j g_j \ne 0`. A
    direction with momentum (Adam, Lion, heavy ball) may point uphill on a batch. The
    coordinates that this transformation keeps point downhill together.

    Coordinates without a gradient, such as the rows of an embedding that the batch does
    not contain, do not climb. They keep their momentum and do not count.

    In few dimensions all coordinates that have a gradient may climb. Then these are
    reversed: -d goes down in each of them.

    Args:
      name: the optimizer that error messages name.

    Returns:
      A transformation of what is *added*: it comes after ``optax.scale(-1.0)`` and
      before the search. ``update`` needs ``grad``, the gradient at the params.

    Raises:
      TypeError, from ``update``: ``grad`` is missing.

    Cost:
      It evaluates nothing, has no state, and passes over the direction twice.

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

        signs = jax.tree.map(_product_sign, held, grad)
        dtype = trees.scalar_dtype(held)

        def counted(sign):
            return (sign < 0).astype(dtype), (sign > 0).astype(dtype)

        down, up = trees.sums(counted, signs)
        all_climb = (down == 0) & (up > 0)
        share = jnp.where(all_climb, 1, down / jnp.maximum(down + up, 1))
        longer = 1 / jnp.maximum(share, 0.1)

        def leaf(d, sign):
            if not sign.size:
                return d
            product = longer.astype(jnp.real(d).dtype) * d
            climbing = jnp.where(all_climb, -product, -trees.zeros_like(d))
            # A sign that is NaN, of a gradient that is NaN, is not <= 0 either.
            return jnp.where(sign <= 0, product, climbing)

        # A search after this reverses the direction once more. XLA cancels the two
        # changes of sign only where this one is the last operation here. Reversed, a
        # zero would become -0.0, so zeros are made negative before.
        ascent = jax.tree.map(leaf, trees.reverse(held), signs)
        return trees.reverse(ascent), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )
