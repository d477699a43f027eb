"""Checks of the arguments of ``update``, with errors that say what to write."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees

_CALL = {
    "value": "value=loss",
    "grad": "grad=grads",
    "value_fn": "value_fn=lambda p: loss_fn(p, batch)",
    "predict_fn": "predict_fn=lambda p: features @ p",
    "prediction_loss_fn": "prediction_loss_fn=lambda z: jnp.mean((z - targets) ** 2)",
    "grad_fn": "grad_fn=jax.grad(lambda p: loss_fn(p, batch))",
    "index": "index=i",
}


def require_arguments(caller: str, **arguments: Any) -> None:
    """Raises TypeError if an argument of ``update`` is None.

    The error names the transformation (``caller``), every missing argument and the call
    to write instead.
    """
    missing = [name for name, argument in arguments.items() if argument is None]
    if missing:
        names = " and ".join(map(repr, missing))
        given = [_CALL.get(key, f"{key}=...") for key in arguments if key != "params"]
        raise TypeError(
            f"{caller}: update() needs {names}. Write "
            f"optimizer.update({', '.join(['grads', 'state', 'params', *given])}), "
            "or let optaxls.make_step pass the arguments."
        )


_CURE = (
    "Wrappers that mask or flatten the updates (optax.masked, optax.partition, "
    "optax.flatten) leave value and value_fn whole: use optaxls.on_subset, or put the "
    "search outside of them."
)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def require_same_leaves(caller: str, updates: Any, **others: Any) -> None:
    """Raises TypeError if ``updates`` are masked or differ from ``others`` in shapes.

    ``caller`` is the name of the transformation that the error speaks of.
    """
    if any(map(_is_masked, jax.tree.leaves(updates, is_leaf=_is_masked))):
        raise TypeError(f"{caller}: the updates are masked. {_CURE}")
    expected = [jnp.shape(leaf) for leaf in trees.inexact_leaves(updates)]
    for name, tree in others.items():
        found = [jnp.shape(leaf) for leaf in trees.inexact_leaves(tree)]
        if found != expected:
            raise TypeError(
                f"{caller}: updates and {name} must have the same leaves, got shapes "
                f"{expected} and {found}. {_CURE}"
            )


def require_arrays(caller: str, params: Any) -> None:
    """Raises TypeError if a leaf of ``params`` is neither an array nor a number.

    A typed key is refused too. ``caller`` is the name that the error speaks of.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = jax.tree_util.keystr(path)
        if not (hasattr(leaf, "dtype") or isinstance(leaf, numbers.Number)):
            raise TypeError(
                f"{caller}: params{place} is no array but of type "
                f"{type(leaf).__name__}. Split the model before: params, static = "
                "eqx.partition(model, eqx.is_inexact_array), and use "
                "eqx.combine(params, static) inside the loss."
            )
        if trees.is_key(leaf):
            raise TypeError(
                f"{caller}: params{place} is a typed key, which has no gradient. "
                "Pass keys as arguments of the loss, beside the batch."
            )


def hold_integers(updates: Any, params: Any) -> Any:
    """Returns ``updates`` with integer zeros wherever a leaf of ``params`` is integer.

    Without this, ``optax.scale(-1.0)`` turns the zero gradient of an integer leaf into
    floats, which no longer fit the params.
    """
    if jax.tree.structure(updates) != jax.tree.structure(params):
        return updates
    return jax.tree.map(
        lambda u, p: u if jnp.issubdtype(p.dtype, jnp.inexact) else jnp.zeros_like(p),
        updates,
        jax.tree.map(jnp.asarray, params),
    )


def _is_multiple(updates: jax.Array, grad: jax.Array, sign: int) -> jax.Array:
    """Whether every entry of ``updates`` is ``sign * c * grad`` with its own c >= 0."""

    def scaled(leaf: jax.Array) -> jax.Array:
        largest = jnp.max(jnp.abs(leaf), initial=0)
        # Products of unscaled entries could underflow to 0 or overflow.
        return leaf / jnp.where(largest > 0, largest, 1)

    u, g = scaled(sign * updates), scaled(grad)
    eps = max(jnp.finfo(u.dtype).eps, jnp.finfo(g.dtype).eps)
    across = u.imag * g.real, u.real * g.imag
    parallel = jnp.abs(across[0] - across[1]) <= 8 * eps * sum(map(jnp.abs, across))
    # Of a gradient of 0 only 0 is a multiple; momentum is not.
    parallel &= (grad != 0) | (updates == 0)
    return jnp.all(parallel & (u.real * g.real + u.imag * g.imag >= 0))


def _conjugated(updates: Any, grad: Any, sign: int) -> Any:
    if jax.tree.structure(updates) != jax.tree.structure(grad):
        return updates

    def leaf(u: Any, g: Any) -> Any:
        if not jnp.iscomplexobj(u) or not jnp.iscomplexobj(g):
            return u
        return jnp.where(_is_multiple(u, g, sign), jnp.conj(u), u)

    return jax.tree.map(leaf, updates, grad)


def descent_direction(updates: Any, grad: Any) -> Any:
    """Conjugates those leaves of ``updates`` that are minus JAX's complex gradient.

    The ascent direction of a real loss in complex params is the *conjugate* of JAX's
    gradient, and ``grad`` is JAX's. A training loop that passes ``grad`` as
    ``updates`` too arrives here with ``-grad``. So a leaf is conjugated if each of its
    entries is a negative multiple of the gradient's entry. It may have been clipped,
    scaled or preconditioned. Every other leaf, such as momentum, counts as a direction
    and is returned unchanged. Real leaves cost no operation.
    """
    return _conjugated(updates, grad, -1)


def ascent_direction(updates: Any, grad: Any) -> Any:
    """Conjugates those leaves of ``updates`` that are JAX's complex gradient itself.

    This is ``descent_direction`` for updates whose sign has not been changed yet.
    Without ``grad`` the updates count as the ascent direction.
    """
    return updates if grad is None else _conjugated(updates, grad, 1)


def prepared_direction(
    caller: str, updates: Any, params: Any, value: Any, grad: Any, **needed: Any
) -> Any:
    """Checks what ``update`` was given, and returns the direction to search along.

    ``needed`` are the further arguments that ``caller`` cannot do without. Leaves that
    are not trained get zeros, and complex leaves are conjugated where they have to be.
    """
    require_arguments(caller, params=params, value=value, grad=grad, **needed)
    updates = hold_integers(updates, params)
    require_same_leaves(caller, updates, params=params, grad=grad)
    return descent_direction(updates, grad)
