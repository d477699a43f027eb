"""Reading the scalars out of any nested optimizer state."""

from typing import Any

import jax

from optaxls._core import trees
from optaxls._core.reports import find_direction_reports, find_reports


def _is_number(leaf: Any) -> bool:
    """Whether a logger can take the leaf: no typed key, no shape without a value."""
    if isinstance(leaf, jax.Array):
        return not trees.is_key(leaf)
    # NumPy's arrays and numbers have an item; the shape of an array has none.
    is_array = hasattr(leaf, "dtype") and hasattr(leaf, "item")
    return is_array or isinstance(leaf, (bool, int, float))


def _ndim(leaf: Any) -> int:
    return getattr(leaf, "ndim", 0)


def _only_leaf(node: Any) -> Any:
    """The only leaf of a node, else None: a library may wrap an array into a node."""
    leaves = jax.tree.leaves(node)
    return leaves[0] if len(leaves) == 1 else None


def _scalars(node: Any, ndim: int) -> dict[str, Any]:
    """The named numbers below ``node`` that have as many axes as the step size."""
    found = {}
    for name in getattr(node, "_fields", ()):
        child = getattr(node, name)
        if hasattr(child, "_fields"):
            for key, leaf in _scalars(child, ndim).items():
                found.setdefault(key, leaf)
            continue
        leaf = _only_leaf(child)
        if _is_number(leaf) and _ndim(leaf) == ndim:
            found[name] = leaf
    return found


def _numbered(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """All numbers in one dict; with several reports each name gets its index."""
    if len(reports) == 1:
        return reports[0]
    return {
        f"{name}_{index}": leaf
        for index, report in enumerate(reports)
        for name, leaf in report.items()
    }


def metrics(state: Any) -> dict[str, Any]:
    """Collects what step-size rules and directions report in an optimizer state.

    Args:
      state: any optax state, nested or vmapped. Its leaves may be on the host: NumPy
        arrays after ``jax.device_get``, or Python numbers.

    Returns:
      ``step_size``, ``num_trials``, ``accepted``, ``value``, ``slope``,
      ``trial_value`` and the scalars that the parts remember, as they are in the state.
      With several step-size rules in the state the names are numbered in the order of
      the chain (``step_size_0``, ...). What a direction by curvature reports is there
      too, such as ``damping``. The dict is empty where the state has none of both.

    Cost:
      It computes nothing and returns references.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sps(c=0.5)
      >>> w = jnp.array([2.0])
      >>> _, state = optimizer.update(w, optimizer.init(w), w, value=jnp.array(2.0))
      >>> report = optaxls.metrics(state)
      >>> print(report["step_size"], report["num_trials"], report["accepted"])
      1.0 0 True

    Reference:
      No publication; defined here. ``optax.tree.get`` finds one name at a time.
    """
    rules = [
        _scalars(node, _ndim(_only_leaf(node.step_size)))
        for node in find_reports(state)
    ]
    directions = [
        _scalars(node, _ndim(_only_leaf(node[0])))
        for node in find_direction_reports(state)
    ]
    return _numbered(directions) | _numbered(rules)
