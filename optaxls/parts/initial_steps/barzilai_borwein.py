"""The Barzilai-Borwein step size, from the last change of the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls.parts.types import InitialStep, Origin, Outcome


class BarzilaiBorweinMemory(NamedTuple):
    """The params and the gradient at the last step, and the step size it took."""

    last_params: Any
    last_grad: Any
    last_step: jax.Array


def barzilai_borwein(
    initial_step_size: float = 1.0,
    min_step_size: float = 1e-10,
    max_step_size: float = 1e10,
) -> InitialStep:
    r"""Starts every search from the step size that the last two gradients suggest.

    :math:`\eta = \langle s, s\rangle / \langle s, y\rangle`, where :math:`s` and
    :math:`y` are the last changes of params and gradient. It is clipped to
    [``min_step_size``, ``max_step_size``]. If the curvature
    :math:`\langle s, y\rangle` is not positive, the last step size is proposed again.
    The formula is made for the plain negative gradient of one fixed loss (full batch).
    Between different mini-batches :math:`y` is mostly noise.

    Args:
      initial_step_size: proposed at the first step, > 0.
      min_step_size: the shortest proposal, > 0.
      max_step_size: the longest proposal, > 0.

    Returns:
      An initial step; pair it with ``window_armijo`` for the spectral gradient method.

    State:
      ``last_step``, scalar; ``last_params`` and ``last_grad``, like params.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation; two copies of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> tx = optaxls.scale_by_initial_step(optaxls.barzilai_borwein(0.1))
      >>> w, state = jnp.array([1.0]), None
      >>> state = tx.init(w)
      >>> for _ in range(2):       # f = 2 w^2: the secant finds 1 / L = 1 / 4
      ...     updates, state = tx.update(-4 * w, state, w, grad=4 * w)
      ...     w = optax.apply_updates(w, updates)
      >>> print(f"{state.step_size:.4f} {abs(w[0]):.4f}")
      0.2500 0.0000

    Reference:
      Barzilai and Borwein 1988; Raydan, The Barzilai and Borwein Gradient Method for
      the Large Scale Unconstrained Minimization Problem, 1997 (the safeguard).
    """
    checks.require("initial_step_size", initial_step_size, "(0, inf)")
    checks.require("min_step_size", min_step_size, "(0, inf)")
    checks.require("max_step_size", max_step_size, "(0, inf)")

    def init(params: Any) -> BarzilaiBorweinMemory:
        zeros = jax.tree.map(jnp.zeros_like, params)
        first = jnp.asarray(initial_step_size, trees.scalar_dtype(params))
        return BarzilaiBorweinMemory(zeros, zeros, first)

    def propose(memory: BarzilaiBorweinMemory, origin: Origin) -> jax.Array:
        dtype = origin.value.dtype
        change = jax.tree.map(jnp.subtract, origin.params, memory.last_params)
        bend = jax.tree.map(jnp.subtract, origin.grad, memory.last_grad)
        curvature = trees.inner(change, bend, dtype)
        # A remembered gradient of 0 means the first step, which has no last change.
        secant = (trees.sqnorm(memory.last_grad, dtype) > 0) & (curvature > 0)
        ratio = trees.sqnorm(change, dtype) / jnp.where(secant, curvature, 1)
        step_size = jnp.where(secant, ratio, memory.last_step)
        return jnp.clip(step_size, min_step_size, max_step_size)

    def commit(
        memory: BarzilaiBorweinMemory, origin: Origin, outcome: Outcome
    ) -> BarzilaiBorweinMemory:
        step_size = jnp.where(outcome.accepted, outcome.end_step, memory.last_step)
        return BarzilaiBorweinMemory(origin.params, origin.grad, step_size)

    return InitialStep(init, propose, commit, uses=("grad",))
