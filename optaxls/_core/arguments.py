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
