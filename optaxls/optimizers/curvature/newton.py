"""Subsampled Newton methods with a line search (Meng et al. 2020)."""

import optax

from optaxls.directions._conjugated import conjugated
from optaxls.directions.curvature.newton import scale_by_hessian_free, scale_by_newton
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.searched import scale_by_line_search

_NEEDS = ("params", "value", "grad", "value_fn")


def newton(
    *,
    damping: float = 1e-3,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Newton's method on mini-batches with a line search (R-SSN).

    :math:`w_{k+1} = w_k - \eta_k (H_k + \tau I)^{-1} g_k`, where the search begins with
    :math:`\eta = 1` at each step.

    Args:
      damping: tau, in [0, inf); units of the loss over params squared.
      c: sufficient decrease, in (0, 1).
      decrease_factor: in (0, 1).
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. The
      Hessian is that of ``curvature_value_fn`` where it is given: the theory has it on
      an independent batch. A direction that climbs, or is not finite, gives no step.

    State:
      That of ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      That of ``scale_by_newton``: a matrix of the number of params squared, and as many
      products with the Hessian as there are params. Median one forward pass more.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.newton(damping=0.0)
      >>> step = optaxls.make_step(lambda w: jnp.sum((w - 3.0)**2), optimizer)
      >>> print(step(jnp.array([1.0]), optimizer.init(jnp.array([1.0]))).params)
      [3.]

    Reference:
      Meng, Vaswani, Laradji, Schmidt, Lacoste-Julien, Fast and Furious Convergence,
      2020, arXiv:1910.04920 (R-SSN).
    """
    search = backtracking(decrease_factor, max_trials=max_trials)
    optimizer = optax.chain(
        scale_by_newton(damping=damping),
        optax.scale(-1.0),
        scale_by_line_search(armijo(c), constant(1.0), search, name="newton"),
    )
    return conjugated(optimizer, name="newton", needs=_NEEDS)


def hessian_free(
    *,
    damping: float = 1e-3,
    max_cg_steps: int = 10,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""The same as ``newton`` by conjugate gradients, so without a matrix.

    Args:
      damping: tau, in [0, inf); units of the loss over params squared.
      max_cg_steps: >= 1.
      c: sufficient decrease, in (0, 1).
      decrease_factor: in (0, 1).
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn`` and
      takes ``curvature_value_fn``, as in ``newton``.

    State:
      That of ``scale_by_line_search``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      At most ``max_cg_steps + 1`` products with the Hessian, each about two gradients.
      Median one forward pass more.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.hessian_free(damping=0.0)
      >>> step = optaxls.make_step(lambda w: jnp.sum((w - 3.0)**2), optimizer)
      >>> print(step(jnp.array([1.0]), optimizer.init(jnp.array([1.0]))).params)
      [3.]

    Reference:
      Meng et al. 2020, arXiv:1910.04920; Martens 2010.
    """
    search = backtracking(decrease_factor, max_trials=max_trials)
    optimizer = optax.chain(
        scale_by_hessian_free(damping=damping, max_cg_steps=max_cg_steps),
        optax.scale(-1.0),
        scale_by_line_search(armijo(c), constant(1.0), search, name="hessian_free"),
    )
    return conjugated(optimizer, name="hessian_free", needs=_NEEDS)
