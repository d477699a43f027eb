"""Newton's direction: the gradient, divided by a damped curvature."""

import optax

from optaxls.directions.curvature._damped import damped
from optaxls.directions.curvature._solvers import by_products, dense


def scale_by_newton(
    *, damping: float | optax.Schedule = 1e-3
) -> optax.GradientTransformationExtraArgs:
    r"""Divides the gradient by the damped curvature, as a dense matrix.

    :math:`g \mapsto (B + \tau I)^{-1} g`, with the Hessian :math:`B` of the batch's
    loss at the params. All trained leaves together are one vector; integer leaves stay.
    Where :math:`B + \tfrac12\tau I` is not positive definite, all eigenvalues of
    :math:`B` are raised to at least the size of the most negative one. So the loss
    falls along minus the result, and :math:`\tau` bounds its length. With
    :math:`\tau = 0`, what has no curvature is left out. Leaves in bfloat16 round the
    matrix, and their curvature is raised by that error.

    Args:
      damping: tau, in [0, inf), or an optax schedule of it; units of the loss over
        params squared.

    Returns:
      A transformation of gradients; ``optax.scale(-1.0)`` belongs behind it. ``update``
      needs ``params`` and ``value_fn``. There are two other matrices. With
      ``curvature_value_fn``, a loss on an independent batch, B is the Hessian of that
      loss. Else with ``predict_fn`` (params -> z) and ``prediction_loss_fn``
      (z -> loss), B is the Gauss-Newton matrix of the two, which is never indefinite
      where the loss is convex in z. A result that is not finite gives zeros.

    State:
      ``report``: ``damping``, ``curvature`` of the direction, ``num_products`` with B
      and ``negative_curvature``, which ``metrics`` shows.

    Raises:
      ValueError: ``damping`` lies outside its range. TypeError: it is an
      ``adapted_damping``, or an argument is missing from ``update``.

    Cost:
      A matrix of the number of params squared, as many products with B as there are
      params, and its factors; its eigenvalues besides where it is indefinite. For
      thousands of params at most. Every device of a mesh has the whole matrix.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_newton(damping=1.0)
      >>> w = jnp.array([1.0, 2.0])
      >>> loss = lambda w: 0.5 * w[0]**2 + 1.5 * w[1]**2       # curvatures 1 and 3
      >>> grad = jnp.array([1.0, 6.0])
      >>> updates, _ = tx.update(grad, tx.init(w), w, value_fn=loss)
      >>> bool(jnp.allclose(updates, jnp.array([0.5, 1.5])))    # 1 / 2 and 6 / 4
      True

    Reference:
      Meng, Vaswani, Laradji, Schmidt, Lacoste-Julien 2020, arXiv:1910.04920
      (R-SSN). For indefinite matrices: Nocedal and Wright 2006, section 3.4 (eigenvalue
      modification); the bound for the eigenvalues is defined here.
    """
    return damped("scale_by_newton", dense, damping)


def scale_by_hessian_free(
    *,
    damping: float | optax.Schedule = 1e-3,
    max_cg_steps: int = 10,
    forcing: float = 0.5,
) -> optax.GradientTransformationExtraArgs:
    r"""Divides the gradient by the damped curvature, without a matrix.

    Conjugate gradients solve :math:`(B + \tau I) d = g` from 0, with the Hessian
    :math:`B` of the batch's loss at the params. They need products with it only. They
    stop once the residual is at most :math:`\min(r, \sqrt{\|g\|_2})\,\|g\|_2` with
    :math:`r` (``forcing``). If they meet a direction :math:`p` whose damped curvature
    is not positive, the result is :math:`p / \|p\|_2 / \max(\|g\|_1, 1)`.

    Args:
      damping: tau, in [0, inf), or an optax schedule of it; units of the loss over
        params squared.
      max_cg_steps: >= 1. As many as there are params solve the system, but for
        rounding.
      forcing: r, in [0, 1), dimensionless. With 0 all steps are made.

    Returns:
      A transformation of gradients; ``optax.scale(-1.0)`` belongs behind it. ``update``
      needs ``params`` and ``value_fn``. There are two other matrices. With
      ``curvature_value_fn``, a loss on an independent batch, B is the Hessian of that
      loss. Else with ``predict_fn`` (params -> z) and ``prediction_loss_fn``
      (z -> loss), B is the Gauss-Newton matrix of the two, which is never indefinite
      where the loss is convex in z. A result that is not finite gives zeros.

    State:
      ``report``: ``damping``, ``curvature`` of the direction, ``num_products`` with B
      and ``negative_curvature``, which ``metrics`` shows.

    Raises:
      ValueError: an argument lies outside its range. TypeError: ``damping`` is an
      ``adapted_damping``, or an argument is missing from ``update``.

    Cost:
      One more gradient, whose derivatives are kept, and at most ``max_cg_steps``
      products with B, each about two gradients; four copies of the params during the
      step. On a CPU convolutions are slow in such a loop.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_hessian_free(damping=1.0, forcing=0.0)
      >>> w = jnp.array([1.0, 2.0])
      >>> loss = lambda w: 0.5 * w[0]**2 + 1.5 * w[1]**2       # curvatures 1 and 3
      >>> updates, _ = tx.update(jnp.array([1.0, 6.0]), tx.init(w), w, value_fn=loss)
      >>> bool(jnp.allclose(updates, jnp.array([0.5, 1.5])))
      True

    Reference:
      Martens 2010, Deep learning via Hessian-free optimization, section 4; Meng et al.
      2020, arXiv:1910.04920, whose code divides by the 1-norm of g without the bound.
      The residual is that of Nocedal and Wright 2006, Algorithm 7.1.
    """
    solve = by_products(max_cg_steps, forcing)
    return damped("scale_by_hessian_free", solve, damping)
