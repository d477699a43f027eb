"""Sign descent with heavy-ball momentum."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _checks, _momentum
from optaxls._types import InitialStep, Origin, Outcome
from optaxls.line_search.initial_steps import constant
from optaxls.line_search.transform import scale_by_initial_step


class _ScheduleMemory(NamedTuple):
    num_steps: jax.Array


def _scheduled(schedule: optax.Schedule) -> InitialStep:
    def init(params: Any) -> _ScheduleMemory:
        del params
        return _ScheduleMemory(jnp.zeros((), jnp.int32))

    def propose(memory: _ScheduleMemory, origin: Origin) -> jax.Array:
        return jnp.asarray(schedule(memory.num_steps), origin.value.dtype)

    def commit(memory: _ScheduleMemory, origin: Origin, outcome: Outcome):
        del origin, outcome
        return _ScheduleMemory(jnp.asarray(optax.safe_increment(memory.num_steps)))

    return InitialStep(init, propose, commit, uses=())


def _negative_sign(updates: Any, params: Any) -> Any:
    """NaN where the gradient is not finite: the sign of an infinity looks harmless."""
    del params

    def leaf_sign(g):
        return jnp.where(jnp.isfinite(g), -jnp.sign(g), jnp.nan).astype(g.dtype)

    return jax.tree.map(leaf_sign, updates)


def sign_descent(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9
) -> optax.GradientTransformationExtraArgs:
    r"""Sign descent with heavy-ball momentum.

    :math:`w_{k+1} = w_k - \alpha\,\operatorname{sign}(g_k) + \beta (w_k - w_{k-1})`
    with :math:`\alpha` (``learning_rate``) and :math:`\beta` (``momentum``). The sign
    comes first, the momentum after; Lion and Signum have it the other way round.

    Args:
      learning_rate: > 0, the most that a parameter moves without momentum, in units of
        the params; or a schedule from the step count to it.
      momentum: dimensionless, in [0, 1).

    Returns:
      A transformation that needs ``params`` only. A gradient that is not finite gives
      no new displacement; the momentum goes on.

    State:
      ``step_size`` (the learning rate), ``num_trials`` (0), ``accepted``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One copy of the params for the momentum.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.sign_descent(0.5, momentum=0.0)
      >>> w = jnp.array([3.0, -0.1])
      >>> updates, _ = optimizer.update(w, optimizer.init(w), w)
      >>> print(optax.apply_updates(w, updates))
      [2.5 0.4]

    Reference:
      Kunstner et al., Noise Is Not the Main Factor Behind the Gap Between SGD and
      Adam, 2023, arXiv:2304.13960.
    """
    _checks.require("momentum", momentum, "[0, 1)")
    if callable(learning_rate):
        rule = _scheduled(learning_rate)
    else:
        _checks.require("learning_rate", learning_rate, "(0, inf)")
        rule = constant(learning_rate)  # pyright: ignore[reportArgumentType]
    return optax.chain(
        optax.stateless(_negative_sign),
        scale_by_initial_step(rule, name="sign_descent"),
        _momentum.trace(momentum),
    )
