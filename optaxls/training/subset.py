"""Training some of the leaves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core.arguments import require_arrays
from optaxls.parts.types import Params

# Python's bool and NumPy's.
_FLAGS = (bool, jnp.dtype(bool).type)


def _is_flag(leaf: Any) -> bool:
    return isinstance(leaf, _FLAGS)


def _is_function(mask: Any) -> bool:
    """Whether to call the mask. A module of bools is a tree, though callable."""
    leaves = jax.tree.leaves(mask)
    return callable(mask) and not (leaves and all(map(_is_flag, leaves)))


def _frozen(mask: Any, params: Params) -> Any:
    """True where a leaf of ``params`` is not trained."""
    for leaf in jax.tree.leaves(mask):
        if not _is_flag(leaf):
            raise ValueError(
                "on_subset: mask must be a tree of Python bools, one for each leaf of "
                f"params or for a part of their tree, got a leaf of type "
                f"{type(leaf).__name__}"
            )

    def spread(flag: bool, part: Any) -> Any:
        return jax.tree.map(lambda _: not flag, part)

    try:
        return jax.tree.map(spread, mask, params)
    except ValueError as error:
        raise ValueError(
            "on_subset: mask must have the structure of params or a prefix of it. A "
            "function always has, and is what NNX needs: mask=lambda params: "
            "jax.tree.map(lambda leaf: leaf.ndim > 1, params)"
        ) from error


# Update arguments that are functions of params, and those that are like params.
_FUNCTIONS = ("value_fn", "curvature_value_fn", "predict_fn")
_GRADIENTS = ("grad", "example_grads", "sample_grads", "snapshot_grad")
_GRADIENT_FUNCTIONS = ("grad_fn", "example_grad_fn")


def _where(frozen: Any, held: Params, tree: Params) -> Params:
    """``tree`` with the frozen leaves of ``held``."""
    leaves, treedef = jax.tree.flatten(tree)
    flags, kept = jax.tree.leaves(frozen), jax.tree.leaves(held)
    found = [
        old if stays else new
        for stays, old, new in zip(flags, kept, leaves, strict=True)
    ]
    return treedef.unflatten(found)


def _zeroed(frozen: Any, tree: Params) -> Params:
    return _where(frozen, jax.tree.map(jnp.zeros_like, tree), tree)


def _of_the_subset(
    frozen: Any, params: Params, extra: dict[str, Any]
) -> dict[str, Any]:
    """The update arguments of a loss that does not depend on the frozen leaves.

    Else a curvature, or a gradient that the optimizer takes itself, would move them in
    the trials. The step that is made would not be the one that was tested.
    """

    def held(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda at, *more: function(_where(frozen, params, at), *more)

    found = dict(extra)
    for name in (*_FUNCTIONS, *_GRADIENT_FUNCTIONS):
        if found.get(name) is not None and params is not None:
            found[name] = held(found[name])
    for name in _GRADIENTS:
        if found.get(name) is not None:
            found[name] = _zeroed(frozen, found[name])

    def zeroed(grad_fn: Callable[..., Params]) -> Callable[..., Params]:
        return lambda at, *more: _zeroed(frozen, grad_fn(at, *more))

    for name in _GRADIENT_FUNCTIONS:
        if found.get(name) is not None:
            found[name] = zeroed(found[name])
    return found


def on_subset(
    optimizer: optax.GradientTransformation, mask: Any
) -> optax.GradientTransformationExtraArgs:
    """Trains only the masked leaves; the search still sees the full tree.

    The direction of the other leaves is zeroed before the optimizer and after it
    (weight decay would move them). To the optimizer the loss is one that does not
    depend on them: ``grad`` is 0 there, and ``value_fn`` holds them. ``optax.masked``
    around a search fails instead: ``grad`` and ``value_fn`` are not masked with the
    updates.

    Args:
      optimizer: any optax optimizer.
      mask: tree of Python bools with the structure of params or a prefix of it, True
        where a leaf is trained. It may be a module, such as an Equinox model of bools,
        or a function from params to such a tree.

    Returns:
      A transformation that needs what ``optimizer`` needs. The test of ``minimize`` is
      on all leaves, so there a loss should close over those that are not trained.

    Raises:
      ValueError, from ``init`` and ``update``: the mask holds other things than bools,
      or does not fit the params. TypeError: params hold a function or a typed key.

    Cost:
      It is that of ``optimizer``.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.on_subset(optaxls.sps(), {"body": False, "head": True})
      >>> w = {"body": jnp.array(2.0), "head": jnp.array(2.0)}
      >>> updates, _ = optimizer.update(
      ...     w, optimizer.init(w), w, value=jnp.array(4.0), grad=w)
      >>> print(updates["body"], updates["head"])
      0.0 -4.0

    Reference:
      No publication; defined here.
    """
    find: Callable[[Params], Any] = mask if _is_function(mask) else lambda _: mask

    def init(params: Params) -> optax.MaskedState:
        require_arrays("on_subset", params)
        # optax asks with a placeholder, which has no leaves, for copies of the params.
        if jax.tree.leaves(params):
            _frozen(find(params), params)
        return optax.MaskedState(optax.EmptyState())

    def update(
        updates: Params, state: Any, params: Any = None
    ) -> tuple[Params, optax.MaskedState]:
        frozen = _frozen(find(updates if params is None else params), updates)
        kept = jax.tree.map(
            lambda stays, leaf: jnp.zeros_like(leaf) if stays else leaf, frozen, updates
        )
        return kept, state

    freeze = optax.GradientTransformation(init, update)
    chain = optax.chain(freeze, optimizer, freeze)

    def update_subset(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, Any]:
        frozen = _frozen(find(updates if params is None else params), updates)
        given = _of_the_subset(frozen, params, extra)
        return chain.update(updates, state, params, **given)

    return optax.GradientTransformationExtraArgs(chain.init, update_subset)
