"""Finds in an optimizer state what its step-size rules reported."""

from typing import Any

import jax

_FIELDS = ("step_size", "num_trials", "accepted")


def is_report(node: Any) -> bool:
    """Whether a node of a state is the report of a step-size rule."""
    fields = getattr(node, "_fields", ())
    return all(name in fields for name in _FIELDS)


def find_reports(state: Any) -> list[Any]:
    """Returns all reports in a state, in the order of the chain.

    A report is a NamedTuple with ``step_size``, ``num_trials`` and ``accepted``. Its
    leaves may be arrays, NumPy arrays or Python numbers.
    """
    nodes = jax.tree.leaves(state, is_leaf=is_report)
    return [node for node in nodes if is_report(node)]


def _has_report(node: Any) -> bool:
    return "report" in getattr(node, "_fields", ())


def find_direction_reports(state: Any) -> list[Any]:
    """Returns what directions report: the field ``report`` of their states.

    It is a NamedTuple of scalars.
    """
    nodes = jax.tree.leaves(state, is_leaf=_has_report)
    return [node.report for node in nodes if _has_report(node)]


def require_reports(caller: str, state: Any) -> None:
    """Raises TypeError, naming ``caller``, if the state of ``step_rule`` has none."""
    if not find_reports(state):
        raise TypeError(
            f"{caller}: step_rule must hold scale_by_line_search(...), "
            "scale_by_initial_step(...) or an optimizer of optaxls, "
            f"got the state {state!r}"
        )
