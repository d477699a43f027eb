"""A squared norm and a proximal operator, taken exactly after each step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.reports import find_reports
from optaxls.parts.types import Params


def require_regularisers(l2: Any, prox: Any) -> None:
    """Raises an error that names the argument if either is not what it should be."""
    for weight in jax.tree.leaves(l2) or [None]:
        checks.require("l2", weight, "[0, inf)")
    if prox is not None and not callable(getattr(prox, "prox", None)):
        raise TypeError(
            "prox must be None or have a method prox(params, step_size) -> params, "
            f"got {prox!r}"
        )
    if prox is not None and jax.tree.structure(l2) != jax.tree.structure(0.0):
        raise ValueError(
            "l2 must be one number where prox is given: a proximal operator has one "
            f"step size for all leaves, got l2 = {l2!r}"
        )


def _is_zero(l2: Any) -> bool:
    weights = jax.tree.leaves(l2)
    return all(isinstance(w, (int, float)) and w == 0 for w in weights)


def _shrunk(
    updates: Params, params: Params, step_size: jax.Array, weights: Params
) -> Params:
    """The updates that end at ``(params + updates) / (1 + step_size * weight)``."""

    def leaf_shrunk(u: jax.Array, w: jax.Array, weight: Any) -> jax.Array:
        if not trees.is_inexact(u):
            return u
        kind = jnp.promote_types(jnp.result_type(u), step_size.dtype)
        decay = step_size * weight
        new = (u.astype(kind) - decay * w.astype(kind)) / (1 + decay)
        return new.astype(u.dtype)

    return jax.tree.map(leaf_shrunk, updates, params, weights)


def _projected(
    updates: Params, params: Params, step_size: jax.Array, prox: Any
) -> Params:
    """The updates that end at the proximal point of where ``updates`` end."""
    target = prox.prox(optax.apply_updates(params, updates), step_size)
    new = trees.difference(target, params)
    new = jax.tree.map(
        lambda n, u: n.astype(u.dtype) if trees.is_inexact(u) else u, new, updates
    )
    # A step of 0 stays one, whatever the operator would do.
    return trees.zero_unless(step_size > 0, new)


def regularised(
    step_rule: optax.GradientTransformationExtraArgs, l2: Any, prox: Any
) -> optax.GradientTransformationExtraArgs:
    """Adds ``l2 / 2 * ||w||^2``, and the penalty of ``prox``, to a smooth loss.

    With the step size found, both are the proximal step of their sum: nothing is tested
    again, and the step size need not be shorter for a large ``l2``. ``l2`` may be a
    prefix of the params' tree. Updates of 0 stay so. The state is that of
    ``step_rule``.
    """
    require_regularisers(l2, prox)
    if prox is None and _is_zero(l2):
        return step_rule

    def update(
        updates: Params, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Params, Any]:
        updates, new = step_rule.update(updates, state, params, **extra)
        params = jax.tree.map(jnp.asarray, params)
        step_size = find_reports(new)[-1].step_size
        if not _is_zero(l2):
            weights = jax.tree.broadcast(l2, params)
            shrunk = _shrunk(updates, params, step_size, weights)
            # NaN params must not enter by 0 * NaN where no step is made.
            updates = trees.select(step_size > 0, shrunk, updates)
        if prox is not None:
            at = step_size if _is_zero(l2) else step_size / (1 + step_size * l2)
            updates = _projected(updates, params, at, prox)
        return updates, new

    return optax.GradientTransformationExtraArgs(step_rule.init, update)
