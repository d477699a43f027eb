"""The loop over passes that every solver runs, and what it says at its end."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls.linear.fits import Fit

# Passes in a row without a smaller residual. Only rounding makes that many.
_MOST_STALLED = 100


class _Progress(NamedTuple):
    state: Any
    optimality: jax.Array
    least: jax.Array
    num_passes: jax.Array
    num_stalled: jax.Array


def repeated(
    advance: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    state: Any,
    optimality: jax.Array,
    tolerance: Any,
    max_passes: Any,
) -> tuple[Any, jax.Array]:
    """Calls ``advance(state, number of the pass) -> (state, optimality)`` until done.

    Returns the last state and the number of passes. ``optimality`` is that of the
    start.
    """

    def goes_on(progress: _Progress) -> jax.Array:
        far = ~(progress.optimality <= tolerance) & ~jnp.isnan(progress.optimality)
        useful = progress.num_stalled < _MOST_STALLED
        return far & useful & (progress.num_passes < max_passes)

    def body(progress: _Progress) -> _Progress:
        state, optimality = advance(progress.state, progress.num_passes)
        lower = optimality < progress.least
        return _Progress(
            state,
            optimality,
            jnp.minimum(progress.least, optimality),
            progress.num_passes + 1,
            jnp.where(lower, 0, progress.num_stalled + 1),
        )

    none = jnp.zeros((), jnp.int32)
    start = _Progress(state, optimality, optimality, none, none)
    end = jax.lax.while_loop(goes_on, body, start)
    return end.state, end.num_passes


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
