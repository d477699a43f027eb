"""Finds in an optimizer state what its step-size rules reported."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

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


def num_trials(state: Any) -> Any:
    """Returns the evaluations of the loss in the last step, besides the gradient's.

    They are those of this package's step-size rules and of the searches of optax.
    """
    counts = [report.num_trials for report in find_reports(state)]
    searches = _searches_of_optax(state)
    counts += [node.info.num_linesearch_steps for node in searches]
    return sum((jnp.asarray(n, jnp.int32) for n in counts), jnp.zeros((), jnp.int32))


def _is_search_of_optax(node: Any) -> bool:
    return {"value", "grad", "info"} <= set(getattr(node, "_fields", ()))


def _searches_of_optax(state: Any) -> list[Any]:
    nodes = jax.tree.leaves(state, is_leaf=_is_search_of_optax)
    return [node for node in nodes if _is_search_of_optax(node)]


def _last(state: Any) -> Any:
    """The state of what moves the params last, in a chain or in two directions."""
    while True:
        if hasattr(state, "moved_by"):
            state = state.moved_by
        elif type(state) is tuple and len(state) > 0:
            state = state[-1]
        else:
            return state


def known_value_and_grad(state: Any) -> tuple[Any, Any] | None:
    """Returns loss and gradient after the last step, where the state holds them.

    They belong to the params only if the search is the last in its chain: what comes
    behind it moves the params elsewhere. A loss that is not finite is not known. None
    is returned if no such search is found, and under ``jax_debug_nans``: there no NaN
    says that a step was not tested.
    """
    if jax.debug_nans.value:
        return None
    last = _last(state)
    pair: tuple[Any, Any] = None, ()
    if is_report(last):
        pair = last.trial_value, getattr(last, "trial_grad", ())
    elif _is_search_of_optax(last):
        pair = last.value, last.grad
    return pair if jax.tree.leaves(pair[1]) else None


def require_reports(caller: str, state: Any) -> None:
    """Raises TypeError, naming ``caller``, if the state of ``step_rule`` has none."""
    if not find_reports(state):
        raise TypeError(
            f"{caller}: step_rule must hold scale_by_line_search(...), "
            "scale_by_initial_step(...) or an optimizer of optaxls, "
            f"got the state {state!r}"
        )


# Where the ``init`` of step-size rules say along which path they move, while someone
# asks. A chain does not tell what it holds, and a state holds arrays only.
_PATHS: ContextVar[list[Any] | None] = ContextVar("paths", default=None)


def tell_path(path: Any) -> None:
    """Called by ``init`` of a step-size rule: tells its path to ``paths_of``."""
    found = _PATHS.get()
    if found is not None:
        found.append(path)


def paths_of(init: Callable[[Any], Any], params: Any) -> list[Any]:
    """Returns the paths of the step-size rules in an optimizer, by its ``init``."""
    found: list[Any] = []
    token = _PATHS.set(found)
    try:
        jax.eval_shape(init, params)
    finally:
        _PATHS.reset(token)
    return found
