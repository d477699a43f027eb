"""A step size for each coordinate, found by a search (Kunstner et al. 2023)."""

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions.acceleration._coordinate_steps import coordinate_steps
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.initial_steps.simple import constant
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.searched import scale_by_line_search
from optaxls.transforms.two_directions import two_directions


def multidimensional_backtracking(
    *,
    initial_step_size: float = 1e6,
    growth: float = 1.1,
    decrease_factor: float = 0.5,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient descent with a step size for each coordinate, found by a search.

    :math:`w_+ = w - \eta\,p \odot g`. The step sizes p are those of the ellipsoid
    :math:`\{p \ge 0 : \sum_i p_i^2 / s_i \le 1\}` that promise most, divided by
    :math:`\sqrt{2d}`, d the number of params:
    :math:`p = s \odot g^2 / (\sqrt{2d}\,\|\sqrt s \odot g^2\|)`. They are tried with
    :math:`\eta = 1` and :math:`f(w - p \odot g) \le f(w) - \frac12\sum_i p_i g_i^2`. If
    that fails, the gradient at the trial tells which larger step sizes fail too, and
    the ellipsoid shrinks to the smallest around the others. The step is then shortened
    by :math:`\eta`, which the paper does not do: it makes no step.

    **Proven** for convex losses, full batches and ``growth=1``: the rate is within
    :math:`\sqrt{2d}` of that with the best fixed step sizes of all coordinates, if the
    first ellipsoid holds them. Each cut shrinks its volume by a constant factor at
    least. Mini-batches are not covered: a cut is never taken back.

    Args:
      initial_step_size: > 0, longer than the best step size of any coordinate. Every
        axis of the first ellipsoid is d times as long. Too long a one costs cuts, too
        short a one is only grown out of.
      growth: >= 1, dimensionless: how much the ellipsoid's volume grows with every
        first trial that is accepted. 1 is the theory's.
      decrease_factor: in (0, 1); a rejected trial's step is multiplied by it.
      max_trials: >= 1, evaluations that a search may spend.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad`` and ``value_fn``.
      A batch that is not finite gives no step and no cut. A trial that is not finite
      halves all axes. Where all step sizes below the trial's would fail too, they are
      halved as well.

    State:
      ``pair`` with ``square_axes``, which is s, and ``num_cuts``; and ``step_rule``,
      that of ``scale_by_line_search``. Its ``step_size`` is :math:`\eta`.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      One forward pass, most often; a rejected trial costs a gradient besides. One copy
      of the params, in float32 or wider.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> curvatures = jnp.array([1.0, 1e4])
      >>> optimizer = optaxls.multidimensional_backtracking()
      >>> step = jax.jit(optaxls.make_step(
      ...     lambda w: curvatures @ w**2 / 2, optimizer))
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(100):      # gradient descent takes thousands
      ...     w, state, value, *_ = step(w, state)
      >>> bool(value < 1e-6)
      True

    Reference:
      Kunstner, Portella, Schmidt, Harvey, Searching for Optimal Per-Coordinate
      Step-sizes with Multidimensional Backtracking, 2023, arXiv:2306.02527, section 5
      (ellipsoids). The growth is that of its code.
    """
    checks.require("initial_step_size", initial_step_size, "(0, inf)")
    checks.require("growth", growth, "[1, inf)")
    name = "multidimensional_backtracking"
    search = backtracking(decrease_factor, max_trials=max_trials)
    rule = scale_by_line_search(armijo(0.5), constant(1.0), search, name=name)
    pair = coordinate_steps(initial_step_size, growth)
    optimizer = two_directions(pair, rule, name=name)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name=name, needs=needs)
