"""Proximal SGD with a line search, plain and under Adam's preconditioner."""

import math

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.optimizers._initial_steps import reset_rule
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.paths.proximal import along_prox
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import Proximal
from optaxls.transforms.preconditioned import scale_by_preconditioned_search
from optaxls.transforms.searched import scale_by_line_search


def prox_sgd(
    prox: Proximal,
    *,
    steps_per_epoch: float,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Proximal or projected SGD with the stochastic Armijo line search.

    :math:`w_{k+1} = \operatorname{prox}_{\eta h}(w_k - \eta g_k)` with the penalty h of
    ``prox``, where ``loss_fn`` is the loss without it. :math:`\eta` is the first trial
    with :math:`F(w_+) \le F(w) + c\,(\langle g, w_+ - w\rangle + h(w_+) - h(w))` for
    :math:`F = f_k + h` on the same mini-batch. It is ``sls`` with
    ``path=along_prox(prox)``.

    Args:
      prox: one of ``optaxls.prox``: ``l1(0.01)``, ``nonnegative()``, ``by_part(...)``.
      steps_per_epoch: N > 0, updates per pass over the data: ``dataset_size /
        batch_size``.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at ``initial_step_size``.
      max_step_size: > 0, the longest first trial; none by default.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``. Zeros are exact, and params stay in a set to the last bit.

    Raises:
      ValueError: an argument lies outside its range. TypeError: ``prox`` is of another
      kind.

    Cost:
      The median step costs one forward pass. No copy of the params is kept.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.prox_sgd(optaxls.prox.l1(0.5), steps_per_epoch=1)
      >>> step = jax.jit(optaxls.make_step(
      ...     lambda w: 0.5 * jnp.sum((w - jnp.array([2.0, 0.25]))**2), optimizer))
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(80):
      ...     w, state, *_ = step(w, state)
      >>> print(jnp.round(w, 2))
      [1.5 0. ]

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 1, along the path of Beck and
      Teboulle 2009.
    """
    path = along_prox(prox)
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor, max_trials=max_trials)
    step_rule = scale_by_line_search(
        armijo(c), rule, search, path=path, name="prox_sgd"
    )
    return conjugated(optax.chain(descent(), step_rule))


def prox_adam(
    prox: Proximal,
    *,
    steps_per_epoch: float,
    variant: str = "adam",
    b1: float = 0.0,
    b2: float = 0.99,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
) -> optax.GradientTransformationExtraArgs:
    r"""Proximal steps in the metric of Adam's preconditioner, with a line search.

    :math:`w_+ = \arg\min_x \langle g, x\rangle + h(x) + \frac{1}{2\eta} \sum_j (x_j -
    w_j)^2 / P_j` with :math:`P = 1/(\sqrt{\hat v} + \epsilon)`. Coordinate j has the
    step size :math:`\eta P_j` in its direction and in its penalty. So it minimises
    :math:`f + h` itself, unlike Adam followed by a threshold that is the same for all.

    Args:
      prox: a penalty that is a sum over the coordinates: ``l1``, ``l2``, ``box``,
        ``nonnegative`` or ``by_part`` of these.
      steps_per_epoch: N > 0, ``dataset_size / batch_size``.
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".
      b1: in [0, 1), weight of the momentum, which is applied on the same path without a
        test.
      b2: in [0, 1), weight of the past squares.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step.
      reset: "grow", "keep" or "restart": where the next search begins.
      max_step_size: > 0, the longest first trial; none by default.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range, or ``prox`` is no sum over the
      coordinates. TypeError: ``prox`` is of another kind.

    Cost:
      The median step costs one forward pass. One copy of the params per moment.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.prox_adam(optaxls.prox.l1(0.5), steps_per_epoch=1)
      >>> scales = jnp.array([1.0, 100.0])
      >>> step = jax.jit(optaxls.make_step(lambda w: 0.5 * jnp.sum(
      ...     scales * (w - jnp.array([2.0, 0.004]))**2), optimizer))
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(200):
      ...     w, state, *_ = step(w, state)
      >>> print(jnp.round(w, 2))
      [1.5 0. ]

    Reference:
      Yun, Lozano, Yang 2021, Adaptive Proximal Gradient Methods for Structured Neural
      Networks, arXiv:2006.07065; Vaswani et al. 2020, arXiv:2006.06835.
    """
    path = along_prox(prox)
    if not prox.separable:
        raise ValueError(
            "prox_adam: prox must be a sum over the coordinates (l1, l2, box, "
            f"nonnegative), got {prox!r}"
        )
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor)
    step_rule = scale_by_line_search(
        armijo(c), rule, search, path=path, name="prox_adam"
    )
    optimizer = scale_by_preconditioned_search(
        step_rule, variant=variant, b1=b1, b2=b2, name="prox_adam"
    )
    return conjugated(optimizer)
