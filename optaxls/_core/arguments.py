"""Arguments of ``update``: what is missing, what does not fit, and the cure."""

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
    "grad_fn": "grad_fn=jax.grad(lambda p: loss_fn(p, batch))",
}


def require_arguments(rule: str, **arguments: Any) -> None:
    """Raises TypeError if ``update`` arguments are None: names all, rule and cure."""
    missing = [name for name, argument in arguments.items() if argument is None]
    if missing:
        names = " and ".join(map(repr, missing))
        given = [_CALL.get(key, f"{key}=...") for key in arguments if key != "params"]
        raise TypeError(
            f"{rule}: update() needs {names}. Write "
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


def require_same_leaves(rule: str, updates: Any, **others: Any) -> None:
    """Raises TypeError if ``updates`` are masked or have other leaves than the rest."""
    if any(map(_is_masked, jax.tree.leaves(updates, is_leaf=_is_masked))):
        raise TypeError(f"{rule}: the updates are masked. {_CURE}")
    expected = [jnp.shape(leaf) for leaf in trees.inexact_leaves(updates)]
    for name, tree in others.items():
        found = [jnp.shape(leaf) for leaf in trees.inexact_leaves(tree)]
        if found != expected:
            raise TypeError(
                f"{rule}: updates and {name} must have the same leaves, got shapes "
                f"{expected} and {found}. {_CURE}"
            )


def require_arrays(rule: str, params: Any) -> None:
    """Raises TypeError if a leaf of ``params`` is a function, a key or the like."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = jax.tree_util.keystr(path)
        if not (hasattr(leaf, "dtype") or isinstance(leaf, numbers.Number)):
            raise TypeError(
                f"{rule}: params{place} is no array but of type {type(leaf).__name__}. "
                "Split the model before: params, static = "
                "eqx.partition(model, eqx.is_inexact_array), and use "
                "eqx.combine(params, static) inside the loss."
            )
        if trees.is_key(leaf):
            raise TypeError(
                f"{rule}: params{place} is a typed key, which has no gradient. "
                "Pass keys as arguments of the loss, beside the batch."
            )


def hold_integers(updates: Any, params: Any) -> Any:
    """``updates`` with zeros for the leaves of ``params`` that cannot be trained.

    ``optax.scale(-1.0)`` makes floats of an integer leaf's zero gradient.
    """
    if jax.tree.structure(updates) != jax.tree.structure(params):
        return updates
    return jax.tree.map(
        lambda u, p: u if jnp.issubdtype(p.dtype, jnp.inexact) else jnp.zeros_like(p),
        updates,
        jax.tree.map(jnp.asarray, params),
    )


def _is_multiple(updates: jax.Array, grad: jax.Array, sign: int) -> jax.Array:
    """Whether each entry is ``sign`` times a multiple >= 0 of the gradient's."""

    def scaled(leaf: jax.Array) -> jax.Array:
        largest = jnp.max(jnp.abs(leaf), initial=0)
        # Small entries' products would be 0, and large ones' infinite.
        return leaf / jnp.where(largest > 0, largest, 1)

    u, g = scaled(sign * updates), scaled(grad)
    eps = max(jnp.finfo(u.dtype).eps, jnp.finfo(g.dtype).eps)
    across = u.imag * g.real, u.real * g.imag
    parallel = jnp.abs(across[0] - across[1]) <= 8 * eps * sum(map(jnp.abs, across))
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
    """``updates`` conjugated where they are minus JAX's gradient of complex params.

    The ascent direction of a real loss in complex params is the *conjugate* of JAX's
    gradient, and ``grad`` is JAX's. A loop that passes it on as ``updates`` too has
    ``-grad`` here. So a leaf whose every entry is a negative multiple of the
    gradient's is conjugated, also where it was clipped, scaled or preconditioned.
    Any other leaf is taken for a direction already; so is momentum. Real leaves: no
    operation.
    """
    return _conjugated(updates, grad, -1)


def ascent_direction(updates: Any, grad: Any) -> Any:
    """``descent_direction`` before the change of sign, at the head of an optimizer.

    Without ``grad`` the updates are taken for the ascent direction.
    """
    return updates if grad is None else _conjugated(updates, grad, 1)
