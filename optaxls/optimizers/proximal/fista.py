"""FISTA: the accelerated proximal gradient method, for full batches."""

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.parts.conditions.quadratic import quadratic_bound
from optaxls.parts.initial_steps.slack import grow_when_slack
from optaxls.parts.paths.proximal import along_prox
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import Proximal
from optaxls.transforms.proximal._extrapolated import extrapolated
from optaxls.transforms.searched import scale_by_line_search


def fista(
    prox: Proximal,
    *,
    initial_step_size: float = 1.0,
    decrease_factor: float = 0.8,
    slack: float = 5.0,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Accelerated proximal gradient (FISTA), for a loss that never changes.

    It minimises :math:`f + h`, where ``value_fn`` is f and h the penalty of ``prox``.
    From the trained y, :math:`w_+ = \operatorname{prox}_{\eta h}(y - \eta\nabla f(y))`,
    :math:`t_+ = (1 + \sqrt{1 + 4t^2})/2`, :math:`y_+ = w_+ + \frac{t-1}{t_+}(w_+ - w)`.
    :math:`\eta` is the first trial of a backtracking search for which
    ``quadratic_bound`` holds.

    - Momentum begins anew (t = 1) where :math:`\langle y - w_+, w_+ - w\rangle > 0`.
      So it is linear on strongly convex losses, whose constant need not be known.
    - The step size also grows: after a step along which the loss curves less than a
      fifth (``slack``) of what the step size allows.
    - With a set, y is projected onto it too: the loss is never evaluated outside.

    Args:
      prox: one of ``optaxls.prox``, such as ``optaxls.prox.l1(0.1)``.
      initial_step_size: > 0, the first trial of the first step.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it, and a slack step
        divided by it.
      slack: >= 1, dimensionless.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. It
      trains y; ``eval_params(opt_state, params)`` gives w, whose zeros are exact.
      ``minimize`` stops on the residual of the proximal gradient step.

    State:
      ``ExtrapolatedState``: ``eval_params`` (w), ``momentum_step`` (t),
      ``num_restarts``, ``num_non_finite``, and ``step_rule``, that of
      ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range. TypeError: ``prox`` is of another
      kind.

    Cost:
      One gradient and, in most steps, one loss; two copies of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> targets = jnp.array([3.0, 0.25, -2.0])
      >>> result = optaxls.minimize(
      ...     lambda w: 0.5 * jnp.sum((w - targets)**2), jnp.zeros(3),
      ...     optaxls.fista(optaxls.prox.l1(0.5)))
      >>> print(optaxls.eval_params(result.opt_state, result.params))
      [ 2.5  0.  -1.5]

    Reference:
      Beck and Teboulle 2009, the algorithm of section 4; O'Donoghue and Candes 2012,
      arXiv:1204.3982, section 3.2, for the restart.
    """
    checks.require("decrease_factor", decrease_factor, "(0, 1)")
    first = grow_when_slack(initial_step_size, 1 / decrease_factor, slack)
    search = backtracking(decrease_factor, max_trials=max_trials)
    rule = scale_by_line_search(
        quadratic_bound(), first, search, path=along_prox(prox), name="fista"
    )
    optimizer = extrapolated(optax.chain(descent(), rule), prox)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name="fista", needs=needs)
