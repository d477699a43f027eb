"""Reading the scalars out of any nested optimizer state."""

from typing import Any

import jax
import jax.numpy as jnp

_REPORT = ("step_size", "num_trials", "accepted")


def _is_report(node: Any) -> bool:
    return all(name in getattr(node, "_fields", ()) for name in _REPORT)


def _only_leaf(node: Any) -> Any:
    """An array, also where a library has wrapped it into a node of its own."""
    leaves = jax.tree.leaves(node)
    return leaves[0] if len(leaves) == 1 else None


def _scalars(node: Any, ndim: int) -> dict[str, jax.Array]:
    """Named arrays below ``node``; more axes than the step size has is no scalar."""
    found = {}
    for name in getattr(node, "_fields", ()):
        child = getattr(node, name)
        if hasattr(child, "_fields"):
            for key, leaf in _scalars(child, ndim).items():
                found.setdefault(key, leaf)
            continue
        leaf = _only_leaf(child)
        if isinstance(leaf, jax.Array) and leaf.ndim == ndim:
            found[name] = leaf
    return found


def metrics(state: Any) -> dict[str, jax.Array]:
    """Collects what the step-size rules in an optimizer state report.

    Args:
      state: any optax state, nested as deep as one likes, vmapped or not.

    Returns:
      ``step_size``, ``num_trials``, ``accepted``, ``value``, ``slope``,
      ``trial_value`` and the scalars of the rule's memory. With several rules in the
      state the names are numbered in the order of the chain (``step_size_0``, ...).
      Empty without a rule of ours.

    Cost:
      None: references, no computation.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sps(c=0.5)
      >>> w = jnp.array([2.0])
      >>> _, state = optimizer.update(w, optimizer.init(w), w, value=jnp.array(2.0))
      >>> report = optaxls.metrics(state)
      >>> print(report["step_size"], report["num_trials"], report["accepted"])
      1.0 0 True

    Reference:
      Ours; ``optax.tree.get`` finds one name at a time.
    """
    nodes = jax.tree.leaves(state, is_leaf=_is_report)
    reports = []
    for node in nodes:
        if _is_report(node):
            reports.append(_scalars(node, jnp.ndim(_only_leaf(node.step_size))))
    if len(reports) == 1:
        return reports[0]
    return {
        f"{name}_{index}": leaf
        for index, report in enumerate(reports)
        for name, leaf in report.items()
    }
