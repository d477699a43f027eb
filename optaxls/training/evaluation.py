"""The params to evaluate and to keep, where they are not those that are trained."""

from typing import Any

import jax


def _holds(node: Any) -> bool:
    fields = getattr(node, "_fields", ())
    return "eval_params" in fields or hasattr(type(node), "eval_params_with")


def eval_params(opt_state: Any, params: Any) -> Any:
    """Returns the params to evaluate and to keep: ``params`` for most optimizers.

    Some optimizers train a point from which the next gradient is best taken, and
    evaluate another one. ``auto`` trains with long steps, and evaluates the average of
    the last part of the run. Their state has it as a field
    ``eval_params``, or a method ``eval_params_with(params)`` that returns it.

    Args:
      opt_state: any optimizer state.
      params: those that belong to it.

    Returns:
      Params like ``params``.

    Raises:
      ValueError: the state holds several of them.

    Cost:
      At most one pass over the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([1.0])
      >>> print(optaxls.eval_params(optaxls.ponos().init(w), w))
      [1.]

    Reference:
      No publication; defined here. Schedule-free optimizers need the same of optax.
    """
    nodes = [n for n in jax.tree.leaves(opt_state, is_leaf=_holds) if _holds(n)]
    if len(nodes) > 1:
        raise ValueError(f"eval_params: the state holds {len(nodes)} of them, not one")
    if not nodes:
        return params
    (node,) = nodes
    if "eval_params" in node._fields:
        return node.eval_params
    return node.eval_params_with(params)
