"""Transformations of the direction that stand before a search."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _tree
from optaxls.line_search import _value_fn


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
        _value_fn.require_arguments(name, grad=grad)
        held = updates if params is None else _value_fn.hold_integers(updates, params)
        _value_fn.require_same_leaves(name, held, grad=grad)

        def descends(d, g):
            if not _tree.is_inexact(d):
                return jnp.zeros((0,), bool)
            # Of real numbers the signs: the product of small ones is 0.
            sign = d if jnp.iscomplexobj(d) else jnp.sign(d)
            return jnp.real(jnp.asarray(sign) * g) < 0

        kept = jax.tree.map(descends, held, grad)
        dtype = _tree.scalar_dtype(held)
        longer = 1 / jnp.maximum(_share_kept(kept, dtype), 0.1)

        def leaf(d, keep):
            if not keep.size:
                return d
            product = longer.astype(jnp.real(d).dtype) * d
            return jnp.where(keep, product, -jnp.zeros_like(d))

        # The sign comes last, where the search after it cancels it; the zeros that it
        # turns are made negative beforehand.
        ascent = jax.tree.map(leaf, _tree.reverse(held), kept)
        return _tree.reverse(ascent), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )


class GuardedState(NamedTuple):
    """The direction's own state; the mean squared gradient norm, and steps seen."""

    direction: Any
    mean_grad_sqnorm: jax.Array
    num_seen: jax.Array


def guarded(
    direction: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """``direction`` whose memory no bad batch can spoil.

    A loss or gradient that is not finite gives zeros and leaves the state; a gradient
    more than ten times as long as those before (root mean square, over the last 100 or
    so) enters as that long.

    Args:
      direction: any optax transformation of gradients.

    Returns:
      A transformation; ``update`` needs what ``direction`` does, and ``value``.

    Cost:
      No evaluation, no copy; one pass over the gradient.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.guarded(optax.trace(0.9))
      >>> w = jnp.array([1.0])
      >>> _, state = tx.update(w, tx.init(w), w, value=jnp.array(0.5))
      >>> updates, state = tx.update(w * jnp.nan, state, w, value=jnp.array(0.5))
      >>> print(updates, state.direction.trace)
      [0.] [1.]

    Reference:
      Ours.
    """
    inner = optax.with_extra_args_support(direction)

    def init(params: Any) -> GuardedState:
        zero = jnp.zeros((), _tree.scalar_dtype(params))
        state = GuardedState(inner.init(params), zero, jnp.zeros((), jnp.int32))
        return _tree.fresh(state)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        **extra: Any,
    ) -> tuple[Any, GuardedState]:
        sqnorm = _tree.sqnorm(updates, state.mean_grad_sqnorm.dtype)
        checked = (
            sqnorm
            if value is None
            else sqnorm + _value_fn.as_scalar(value, sqnorm.dtype)
        )
        finite = jnp.isfinite(checked)
        # 1 / k at first, so that no bias has to be taken out.
        rate = jnp.maximum(1 / (state.num_seen + 1), 0.01)
        factor = _tree.tempering(sqnorm, state.mean_grad_sqnorm)
        mean = state.mean_grad_sqnorm + rate * (
            factor**2 * sqnorm - state.mean_grad_sqnorm
        )
        seen = _tree.one_more(state.num_seen)

        def go() -> tuple[Any, GuardedState]:
            entered = jax.tree.map(lambda g: (factor * g).astype(g.dtype), updates)
            moved, memory = inner.update(
                entered, state.direction, params, value=value, **extra
            )
            return moved, _tree.cast_like(GuardedState(memory, mean, seen), state)

        def stay() -> tuple[Any, GuardedState]:
            moved, _ = jax.eval_shape(go)
            return jax.tree.map(lambda u: jnp.zeros(u.shape, u.dtype), moved), state

        # A branch: with a select the old and the new memory would both be kept, and
        # the new one computed twice, for the state and for the direction.
        return _tree.either(finite, go, stay)

    return optax.GradientTransformationExtraArgs(init, update)
