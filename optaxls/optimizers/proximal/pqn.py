"""The projected quasi-Newton method, for full batches and losses that are dear."""

import optax

from optaxls.directions.proximal._model import model_step
from optaxls.optimizers.proximal._full_batch import searched_from_one
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.paths.line import along_segment
from optaxls.parts.types import Proximal


def pqn(
    prox: Proximal,
    *,
    memory_size: int = 10,
    inner_steps: int = 30,
    c: float = 1e-4,
    max_trials: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""Projected or proximal quasi-Newton, for a loss that never changes.

    The direction leads to the minimum of the quadratic model
    :math:`\langle g, x - w\rangle + \frac12 (x - w)^\top B (x - w) + h(x)`, where B is
    the Hessian that the pairs of L-BFGS imply. It is found by at most ``inner_steps``
    spectral projected gradient steps on the model, which evaluate no loss. The search
    is along the segment to it, from the step size 1.

    It suits losses that cost more than thirty projections. Where the projection is dear
    take ``spg``, and for bounds ``two_metric``.

    Args:
      prox: one of ``optaxls.prox``: a convex set, such as ``simplex()``, or a penalty.
      memory_size: pairs that are kept, >= 1.
      inner_steps: >= 1, the most proximal operators in a step. The paper has 10; with
        30 the model is solved more often, and ill-conditioned losses need fewer
        evaluations.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. From
      outside of a set the first step is the projection. ``minimize`` stops on the
      residual of the proximal gradient step. Zeros need not be exact: ``prox`` itself,
      applied to the result, makes them so. A failed search forgets all pairs.

    State:
      ``pair``, the memory, and ``step_rule``, that of ``scale_by_line_search``, with
      ``trial_grad``, the gradient after the step.

    Raises:
      ValueError: an argument lies outside its range. TypeError: ``prox`` is of another
      kind.

    Cost:
      One loss with its gradient per trial, most often one a step; up to
      ``inner_steps`` proximal operators; ``4 * memory_size`` copies of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> targets = jnp.array([1.0, 0.5, -2.0])
      >>> result = optaxls.minimize(
      ...     lambda w: jnp.sum((w - targets)**2), jnp.ones(3) / 3,
      ...     optaxls.pqn(optaxls.prox.simplex()))
      >>> print(*(f"{w:.3f}" for w in result.params))
      0.750 0.250 0.000

    Reference:
      Schmidt, van den Berg, Friedlander, Murphy 2009, Optimizing Costly Functions with
      Simple Constraints, Algorithm 1; Lee, Sun, Saunders 2014, for penalties. The inner
      steps are defined here; there they are searched.
    """
    pair = model_step(prox, memory_size, inner_steps)
    return searched_from_one(
        pair, armijo(c), along_segment(prox), max_trials, name="pqn"
    )
