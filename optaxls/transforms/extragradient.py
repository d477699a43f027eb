"""Extragradient with a Lipschitz line search, whose trials evaluate gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import hold_integers, prepared_direction
from optaxls._engine.origin import make_origin
from optaxls._engine.parts import Parts, init_memories
from optaxls._engine.state import first_state, memories_of, next_state, require_parts
from optaxls._engine.step import take_step
from optaxls.parts.conditions.monotone import stateless_condition
from optaxls.parts.gates import always
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import (
    Condition,
    InitialStep,
    LineSearchState,
    Origin,
    Params,
    Search,
    Trial,
)


def _lipschitz(c: Any) -> Condition:
    """Rejects a trial where the gradient changes by more than ``c`` times its norm."""

    def excess(origin: Origin, trial: Trial) -> jax.Array:
        return trial.value - c * jnp.sqrt(origin.grad_sqnorm)

    return stateless_condition(excess)


def _without_loss(origin: Origin) -> Origin:
    """``origin`` with 0 in place of the loss, and no rounding error.

    The search is on the gradient's change, which is 0 here. A loss that is not finite
    becomes NaN, so that no step is made.
    """
    zero = jnp.where(jnp.isfinite(origin.value), 0, jnp.nan).astype(origin.value.dtype)
    return origin._replace(value=zero, value_rounding=jnp.zeros_like(zero))


def scale_by_extragradient(
    initial_step: InitialStep,
    search: Search = backtracking(),  # noqa: B008
    *,
    c: float = 0.9,
    fallback_step: float = 1e-6,
    name: str = "scale_by_extragradient",
) -> optax.GradientTransformationExtraArgs:
    r"""Steps with the gradient found at the end of a trial step.

    A trial :math:`h = w + \eta d` is accepted when the gradient changes little,
    :math:`\|\nabla f(h) - \nabla f(w)\| \le c\,\|\nabla f(w)\|`. Along
    :math:`d = -\nabla f(w)` that is :math:`\eta L \le c` with the local Lipschitz
    constant L. The update is then :math:`w_+ = w - \eta\nabla f(h)`. Trials compare
    gradients of the same batch; the loss is not evaluated.

    Args:
      initial_step: which step size to try first.
      search: how to go on from a rejected trial; ``backtracking(...)`` shortens it.
      c: in (0, 1), dimensionless: the largest relative change of the gradient.
      fallback_step: >= 0, a step size. A search that spent its budget evaluates the
        gradient there once more, which ``num_trials`` counts. The step is taken only if
        the gradient changes little enough there. With 0 none is tried.
      name: the optimizer that error messages name.

    Returns:
      A transformation of what is *added*: ``optax.scale(-1.0)`` comes before it.
      ``update`` needs ``params``, ``value``, ``grad`` and ``grad_fn`` (params ->
      gradient of the loss, with the batch and random key that gave ``grad``).

    State:
      ``LineSearchState``; ``trial_value`` is the norm of the gradient's change at the
      trial taken, in units of the gradient.

    Raises:
      ValueError: an argument lies outside its range. TypeError: a part is of another
      kind, or, from ``update``, an argument is missing.

    Cost:
      It evaluates one gradient per trial, and one more at the accepted point.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> tx = optax.chain(optax.scale(-1.0), optaxls.scale_by_extragradient(
      ...     optaxls.constant(1.0), optaxls.backtracking(0.5), c=0.5))
      >>> w = jnp.array([1.0])       # f = w^2 / 2: w+ = (1 - eta (1 - eta)) w
      >>> updates, state = tx.update(w, tx.init(w), w, value=jnp.array(0.5), grad=w,
      ...                            grad_fn=lambda w: w)
      >>> print(optax.apply_updates(w, updates), state[1].step_size)
      [0.75] 0.5

    Reference:
      Korpelevich 1976; Vaswani et al. 2019, arXiv:1905.09997, Algorithm 3 (SEG with
      Lipschitz line search).
    """
    checks.require("c", c, "(0, 1)")
    checks.require("fallback_step", fallback_step, "[0, inf)")
    condition = _lipschitz(c)
    parts = Parts(
        condition, initial_step, search, along_direction, always(), fallback_step
    )
    require_parts(parts)

    def init(params: Params) -> LineSearchState:
        return first_state(name, init_memories(parts, params), params)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        grad_fn: Any = None,
        **extra: Any,
    ) -> tuple[Params, LineSearchState]:
        del extra
        updates = prepared_direction(
            name, updates, params, value, grad, grad_fn=grad_fn
        )
        start = make_origin(params, grad, updates, value)

        def gradient_change(at: Params) -> jax.Array:
            change = trees.difference(grad_fn(at), grad)
            return jnp.sqrt(trees.sqnorm(change, start.value.dtype))

        memories = memories_of(state)
        step = take_step(gradient_change, _without_loss(start), memories, parts)
        ahead = grad_fn(optax.apply_updates(params, step.updates))
        step_size = step.outcome.applied.step_size
        descent = trees.scale(-step_size, hold_integers(trees.conj(ahead), params))
        descent = trees.zero_unless(step_size > 0, descent)
        return descent, next_state(step, step.memories, start, state)

    return optax.GradientTransformationExtraArgs(init, update)
