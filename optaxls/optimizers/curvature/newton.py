"""Subsampled Newton methods with a line search (Meng et al. 2020)."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.curvature._damped import damped_pair
from optaxls.directions.curvature._solvers import by_products, dense
from optaxls.directions.curvature.damping import Damping
from optaxls.directions.pairs import DirectionPair
from optaxls.optimizers._initial_steps import reset_rule
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import InitialStep
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions


def _searched(
    name: str,
    pair: DirectionPair,
    c: float,
    decrease_factor: float,
    max_trials: int,
    first_trial: InitialStep,
) -> optax.GradientTransformationExtraArgs:
    """The direction of a pair, and an Armijo search along it."""
    search = backtracking(decrease_factor, max_trials=max_trials)
    rule = scale_by_line_search(armijo(c), first_trial, search, name=name)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(two_directions(pair, rule, name=name), name=name, needs=needs)


def newton(
    *,
    damping: float | optax.Schedule | Damping = 1e-3,
    steps_per_epoch: float = 1.0,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 1.5,
    reset: str = "grow",
    max_step_size: float = 1.0,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Newton's method on mini-batches with a line search (R-SSN).

    :math:`w_{k+1} = w_k - \eta_k (B_k + \tau I)^{-1} g_k`, where the first search
    begins with :math:`\eta = 1`, and the next ones with
    :math:`\min(\gamma^{1/N}\,\eta_{k-1}, 1)`. The direction is that of
    ``scale_by_newton``.

    Args:
      damping: tau, in [0, inf), an optax schedule of it, or ``adapted_damping()``;
        units of the loss over params squared.
      steps_per_epoch: N > 0, ``dataset_size / batch_size`` as published. 1 is that of
        full batches, and lets a shortened step grow back within a few steps.
      c: sufficient decrease, in (0, 1).
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at 1.
      max_step_size: > 0, the longest first trial; Newton's step has the size 1.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. It
      takes ``curvature_value_fn``, or ``predict_fn`` and ``prediction_loss_fn``, as
      ``scale_by_newton`` does: the theory has the Hessian of an independent batch. A
      batch that is not finite gives no step.

    State:
      ``pair``, with the ``report`` of ``scale_by_newton``, and ``step_rule``, the state
      of ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      That of ``scale_by_newton``: a matrix of the number of params squared, as many
      products with B as there are params, and its factors. The median step costs one
      forward pass more. Every device of a mesh has the whole matrix.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.newton(damping=0.0)
      >>> step = optaxls.make_step(lambda w: jnp.sum((w - 3.0)**2), optimizer)
      >>> print(step(jnp.array([1.0]), optimizer.init(jnp.array([1.0]))).params)
      [3.]

    Reference:
      Meng, Vaswani, Laradji, Schmidt, Lacoste-Julien, Fast and Furious Convergence,
      2020, arXiv:1910.04920 (R-SSN), with c, the factors and the largest step of its
      code.
    """
    first = reset_rule(reset, 1.0, growth, steps_per_epoch, max_step_size)
    pair = damped_pair("newton", dense, damping)
    return _searched("newton", pair, c, decrease_factor, max_trials, first)


def hessian_free(
    *,
    damping: float | optax.Schedule | Damping = 1e-3,
    max_cg_steps: int = 10,
    forcing: float = 0.5,
    steps_per_epoch: float = 1.0,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 1.5,
    reset: str = "grow",
    max_step_size: float = 1.0,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Newton's method by conjugate gradients, so without a matrix.

    This is ``newton`` with the direction of ``scale_by_hessian_free``.

    Args:
      damping: tau, in [0, inf), an optax schedule of it, or ``adapted_damping()``;
        units of the loss over params squared.
      max_cg_steps: >= 1, steps of conjugate gradients.
      forcing: in [0, 1): how large the residual may be, relative to the gradient.
      steps_per_epoch: N > 0, ``dataset_size / batch_size`` as published. 1 is that of
        full batches, and lets a shortened step grow back within a few steps.
      c: sufficient decrease, in (0, 1).
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at 1.
      max_step_size: > 0, the longest first trial; Newton's step has the size 1.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. It
      takes ``curvature_value_fn``, or ``predict_fn`` and ``prediction_loss_fn``, as
      ``scale_by_hessian_free`` does.

    State:
      ``pair``, with the ``report`` of ``scale_by_hessian_free``, and ``step_rule``, the
      state of ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One more gradient, whose derivatives are kept, and at most ``max_cg_steps``
      products with B, each about two gradients; four copies of the params during the
      step. The median step costs one forward pass more.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.hessian_free(damping=0.0)
      >>> step = optaxls.make_step(lambda w: jnp.sum((w - 3.0)**2), optimizer)
      >>> print(step(jnp.array([1.0]), optimizer.init(jnp.array([1.0]))).params)
      [3.]

    Reference:
      Meng et al. 2020, arXiv:1910.04920; Martens 2010.
    """
    first = reset_rule(reset, 1.0, growth, steps_per_epoch, max_step_size)
    pair = damped_pair("hessian_free", by_products(max_cg_steps, forcing), damping)
    return _searched("hessian_free", pair, c, decrease_factor, max_trials, first)
