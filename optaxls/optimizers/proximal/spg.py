"""The spectral projected gradient method, for full batches."""

import optax

from optaxls.directions.proximal._spectral import spectral_step
from optaxls.optimizers.proximal._full_batch import searched_from_one
from optaxls.parts.conditions.nonmonotone import window_armijo
from optaxls.parts.paths.line import along_segment
from optaxls.parts.types import Proximal


def spg(
    prox: Proximal,
    *,
    initial_step_size: float = 1.0,
    window: int = 10,
    c: float = 1e-4,
    max_trials: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""Spectral projected gradient, for a loss that never changes.

    The direction is :math:`d = \operatorname{prox}_{\alpha h}(w - \alpha g) - w` with
    the step size :math:`\alpha` of Barzilai and Borwein. The search is along the
    segment :math:`w + \eta d`, from :math:`\eta = 1`, so that a step costs one
    projection however many trials it has. The loss may rise up to the largest of the
    last ten.

    Args:
      prox: one of ``optaxls.prox``: a convex set, such as ``simplex()``, or a penalty.
      initial_step_size: > 0, alpha in the first step.
      window: number of losses that the test looks at, >= 1; 1 is Armijo's.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. From
      outside of a set the first step is the projection. ``minimize`` stops on the
      residual of the proximal gradient step. Zeros need not be exact: ``prox`` itself,
      applied to the result, makes them so.

    State:
      ``pair``, the params and the gradient before the step, and ``step_rule``, that of
      ``scale_by_line_search``, with ``trial_grad``, the gradient after the step.

    Raises:
      ValueError: an argument lies outside its range. TypeError: ``prox`` is of another
      kind.

    Cost:
      One proximal operator a step, and one loss with its gradient per trial, most often
      one; three copies of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> targets = jnp.array([1.0, 0.5, -2.0])
      >>> result = optaxls.minimize(
      ...     lambda w: jnp.sum((w - targets)**2), jnp.ones(3) / 3,
      ...     optaxls.spg(optaxls.prox.simplex()))
      >>> print(*(f"{w:.3f}" for w in result.params))
      0.750 0.250 0.000

    Reference:
      Birgin, Martinez, Raydan 2000, Algorithm 2.2 (SPG2); Schmidt et al. 2009, section
      2.1.
    """
    pair = spectral_step(prox, initial_step_size)
    condition = window_armijo(c, window)
    return searched_from_one(pair, condition, along_segment(prox), max_trials, "spg")
