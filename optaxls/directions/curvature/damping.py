"""How much is added to the curvature before it divides the gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.parts.types import Memory


class Damping(NamedTuple):
    """Proposes tau, and learns how well the quadratic model foretold the loss.

    ``commit`` gets ``ratio``, the change of the batch's loss divided by that of the
    model. It is 1 where the model is exact, minus infinity after a failed search, NaN
    where nothing is known.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> damping = optaxls.Damping(     # double it wherever the loss fell too little
      ...     init=lambda dtype: jnp.ones((), dtype),
      ...     propose=lambda memory: memory,
      ...     commit=lambda memory, ratio: jnp.where(ratio < 0.5, 2 * memory, memory))
      >>> optimizer = optaxls.newton(damping=damping)

    Attributes:
      init: ``dtype -> memory`` of arrays, whose scalars have that dtype.
      propose: ``memory -> tau``, at least 0.
      commit: ``(memory, ratio) -> memory``, after a batch whose gradient is finite.
    """

    init: Callable[[Any], Memory]
    propose: Callable[[Memory], jax.Array]
    commit: Callable[[Memory, jax.Array], Memory]


class AdaptedDampingMemory(NamedTuple):
    """The damping of the next step, scalar."""

    next_damping: jax.Array


def adapted_damping(
    initial_damping: float = 1.0,
    *,
    factor: float = 1.5,
    min_damping: float = 1e-8,
    max_damping: float = 1e8,
) -> Damping:
    r"""Damping that follows how well the quadratic model foretells the loss.

    After a step :math:`s` on a batch, with the gradient :math:`g` and the curvature
    :math:`B`, the ratio is :math:`\rho = (f(w + s) - f(w)) / (g^\top s +
    \tfrac12 s^\top B s)`. Where :math:`\rho > 3/4` the damping is divided by
    ``factor``, where :math:`\rho < 1/4` it is multiplied by it.

    Args:
      initial_damping: tau of the first step, > 0; units of the loss over params
        squared.
      factor: > 1, dimensionless.
      min_damping: > 0, the least tau.
      max_damping: > 0, the largest tau.

    Returns:
      A damping for ``newton`` and ``hessian_free``. A failed search counts as a small
      ratio. The damping stays as it is after a step that was not tested, and on a batch
      that is not finite. So it does where the model foretells a change within the
      rounding error of the loss.

    State:
      ``next_damping``: tau of the next step, scalar.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No evaluation: the search has the loss at the end of its step.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.newton(damping=optaxls.adapted_damping(3.0))
      >>> step = optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)
      >>> w = jnp.array([1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):
      ...     w, state, *_, report = step(w, state)
      ...     print(report["damping"])      # the model is exact: it falls
      3.0
      2.0

    Reference:
      Levenberg-Marquardt; Martens 2010, Deep learning via Hessian-free optimization,
      section 4.1, whose ratio is that of a step of size 1. Here it is that of the step
      taken.
    """
    checks.require("initial_damping", initial_damping, "(0, inf)")
    checks.require("factor", factor, "(1, inf)")
    checks.require("min_damping", min_damping, "(0, inf)")
    checks.require("max_damping", max_damping, "(0, inf)")

    def init(dtype: Any) -> AdaptedDampingMemory:
        return AdaptedDampingMemory(jnp.asarray(initial_damping, dtype))

    def propose(memory: AdaptedDampingMemory) -> jax.Array:
        return memory.next_damping

    def commit(memory: AdaptedDampingMemory, ratio: jax.Array) -> AdaptedDampingMemory:
        change = jnp.where(ratio > 0.75, 1 / factor, jnp.where(ratio < 0.25, factor, 1))
        moved = jnp.clip(memory.next_damping * change, min_damping, max_damping)
        return AdaptedDampingMemory(moved.astype(memory.next_damping.dtype))

    return Damping(init, propose, commit)
