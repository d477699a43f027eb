"""The loop over passes that every solver runs, and what it says at its end."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls._core import checks
from optaxls.linear._losses import LOSSES
from optaxls.linear.fits import Fit
from optaxls.linear.problems import Problem

# Passes in a row without a smaller residual. Only rounding makes that many.
_MOST_STALLED = 100


class Progress(NamedTuple):
    """Where a solver is; ``num_stalled`` passes did not lower the residual."""

    state: Any
    optimality: jax.Array
    least: jax.Array
    num_passes: jax.Array
    num_stalled: jax.Array


def begun(state: Any, optimality: jax.Array) -> Progress:
    """Before the first pass; ``optimality`` is that of the start."""
    none = jnp.zeros((), jnp.int32)
    return Progress(state, optimality, optimality, none, none)


def goes_on(progress: Progress, tolerance: Any, max_passes: Any) -> jax.Array:
    """Whether another pass is wanted, and may help."""
    far = ~(progress.optimality <= tolerance) & ~jnp.isnan(progress.optimality)
    useful = progress.num_stalled < _MOST_STALLED
    return far & useful & (progress.num_passes < max_passes)


def repeated(
    advance: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    progress: Progress,
    tolerance: Any,
    max_passes: Any,
    fits: Callable[[Any], jax.Array] = lambda state: jnp.ones((), bool),
) -> Progress:
    """Calls ``advance(state, number of the pass) -> (state, optimality)`` until done.

    It also ends before a pass from a state that does not fit ``advance``.
    """

    def wanted(progress: Progress) -> jax.Array:
        return goes_on(progress, tolerance, max_passes) & fits(progress.state)

    def body(progress: Progress) -> Progress:
        state, optimality = advance(progress.state, progress.num_passes)
        lower = optimality < progress.least
        return Progress(
            state,
            optimality,
            jnp.minimum(progress.least, optimality),
            progress.num_passes + 1,
            jnp.where(lower, 0, progress.num_stalled + 1),
        )

    return jax.lax.while_loop(wanted, body, progress)


def require_solvable(name: str, problem: Any, tolerance: Any, max_passes: Any) -> None:
    """Raises if a solver that follows gradients cannot take these arguments."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be made by linear.problem, got {problem!r}")
    if not LOSSES[problem.loss].curvature < float("inf"):
        raise ValueError(
            f"{name} cannot minimise the {problem.loss} loss: its gradient jumps at "
            "the kink, so no step size is short enough. Use loss='logistic'"
        )
    checks.require("tolerance", tolerance, "[0, inf)")
    checks.require_integer("max_passes", max_passes, 1)


def reported(name: str, fit: Fit, tolerance: Any) -> Fit:
    """Warns where a solver has not converged, unless ``fit`` is traced."""
    if isinstance(fit.converged, Tracer) or bool(fit.converged):
        return fit
    warnings.warn(
        f"{name} has not converged: after {int(fit.num_passes)} passes the largest "
        f"entry of the gradient is {float(fit.optimality):.2g}, the tolerance is "
        f"{float(tolerance):.2g}. Allow more passes, scale the features, add l2, or "
        f"use float64: {fit.coefficients.dtype} may be too coarse.",
        RuntimeWarning,
        stacklevel=3,
    )
    return fit
