"""A direction that single bad batches cannot spoil."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import ascent_direction
from optaxls._core.loss import as_scalar
from optaxls._core.robust import factor_at_most_tenfold


class GuardedState(NamedTuple):
    """The direction's own state, and what gradients are typically like.

    ``mean_grad_sqnorm`` is the mean squared norm of the gradients, ``num_seen`` the
    number of gradients so far.
    """

    direction: Any
    mean_grad_sqnorm: jax.Array
    num_seen: jax.Array


def _tempered(
    inner: optax.GradientTransformationExtraArgs,
    factor: jax.Array,
    updates: Any,
    state: Any,
    params: Any,
    **extra: Any,
) -> tuple[Any, Any]:
    """``inner`` on ``factor`` times the gradient; in float32 where that is float16."""
    wide = None if params is None else trees.ranged(params)
    entered = jax.tree.map(
        lambda g: (factor * g).astype(g.dtype), trees.ranged(updates)
    )
    moved, memory = inner.update(entered, state, wide, **extra)

    def leaf_back(u: Any, g: Any) -> Any:
        return u.astype(g.dtype) if jnp.result_type(g) == jnp.float16 else u

    return jax.tree.map(leaf_back, moved, updates), memory


def guarded(
    direction: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Keeps bad batches out of the state of ``direction``.

    On a loss or gradient that is not finite, the updates are zeros and the state stays
    as it is. A gradient more than ten times as long as the last 100 or so (root mean
    square) is shortened to ten times that. Leaves of float16 reach ``direction`` as
    float32, in which squares of gradients have room; so its state is float32 there.

    Args:
      direction: any optax transformation of gradients, such as ``optax.trace(0.9)``.

    Returns:
      A transformation of gradients. ``update`` needs what ``direction`` needs, and
      ``value``.

    Cost:
      It evaluates nothing, keeps no copy, and passes over the gradient once.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.guarded(optax.trace(0.9))
      >>> w = jnp.array([1.0])
      >>> _, state = tx.update(w, tx.init(w), w, value=jnp.array(0.5))
      >>> updates, state = tx.update(w * jnp.nan, state, w, value=jnp.array(0.5))
      >>> print(updates, state.direction.trace)
      [0.] [1.]

    Reference:
      No publication; defined here.
    """
    inner = optax.with_extra_args_support(direction)

    def init(params: Any) -> GuardedState:
        zero = jnp.zeros((), trees.scalar_dtype(params))
        memory = inner.init(trees.ranged(params))
        state = GuardedState(memory, zero, jnp.zeros((), jnp.int32))
        return trees.fresh(state)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        **extra: Any,
    ) -> tuple[Any, GuardedState]:
        updates = ascent_direction(updates, extra.get("grad"))
        sqnorm = trees.sqnorm(updates, state.mean_grad_sqnorm.dtype)
        checked = sqnorm if value is None else sqnorm + as_scalar(value, sqnorm.dtype)
        finite = jnp.isfinite(checked)
        # 1 / k at first, so that no bias has to be taken out.
        rate = jnp.maximum(1 / (state.num_seen + 1), 0.01)
        factor = factor_at_most_tenfold(sqnorm, state.mean_grad_sqnorm)
        mean = state.mean_grad_sqnorm + rate * (
            factor**2 * sqnorm - state.mean_grad_sqnorm
        )
        seen = trees.one_more(state.num_seen)

        def go() -> tuple[Any, GuardedState]:
            moved, memory = _tempered(
                inner, factor, updates, state.direction, params, value=value, **extra
            )
            return moved, trees.cast_like(GuardedState(memory, mean, seen), state)

        def stay() -> tuple[Any, GuardedState]:
            moved, _ = jax.eval_shape(go)
            # Like the gradient, so that on a mesh both branches have one sharding.
            like = lambda u, g: trees.zeros_like(g).astype(u.dtype)  # noqa: E731
            return jax.tree.map(like, moved, updates), state

        # A branch: with a select the old and the new memory would both be kept, and
        # the new one computed twice, for the state and for the direction.
        return trees.either(finite, go, stay)

    return optax.GradientTransformationExtraArgs(init, update)
