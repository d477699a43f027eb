"""How gradients of examples grow with the gradient of the loss: the constants of SGD.

A trajectory is a ``GradientSample`` whose arrays have a leading axis of points:
``jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls.diagnostics._estimate import Estimate, around, jackknife_error
from optaxls.diagnostics.gradient_sample import GradientSample

# Sums of many float32 products are wrong by about this.
_ROUNDING = 1e-4
_SQUARED, _MEAN = 0, 1  # rows of ``GradientSample.left_out``


class StrongGrowth(NamedTuple):
    """``E|grad f_i|^2 <= rho |grad f|^2 + noise_floor`` along a trajectory.

    Attributes:
      rho: >= 1, fitted; SGD with the step 1 / (rho L) is ``rho`` times slower than
        gradient descent with 1 / L.
      noise_floor: sigma^2, what remains where the gradient of the loss vanishes; 0
        under interpolation, loss^2 per squared unit of the params.
      rho_bound: the least rho for which the inequality holds at every point, with the
        fitted noise floor.
    """

    rho: Estimate
    noise_floor: Estimate
    rho_bound: jax.Array


def _fit(squared: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """rho >= 1 and sigma^2 >= 0 of least relative squares; points on the last axis."""
    # A point where no example has a gradient any more satisfies every bound.
    counts = squared > 0
    unit = jnp.min(squared, -1, keepdims=True, where=counts, initial=jnp.inf)
    unit = jnp.where(jnp.isfinite(unit), unit, 1)
    size = jnp.where(counts, squared, 1)
    x, z = jnp.where(counts, gradient / size, 0), jnp.where(counts, unit / size, 0)
    sums = [jnp.sum(product, -1) for product in (x * x, x * z, z * z, x, z)]
    xx, xz, zz, sx, sz = sums
    det = xx * zz - xz**2
    # One point, or points that all say the same, fix only one number: no noise.
    usable = det > 1e-9 * xx * zz
    safe = jnp.where(usable, det, 1)
    free = ((zz * sx - xz * sz) / safe, (xx * sz - xz * sx) / safe)
    no_noise = (jnp.maximum(sx / jnp.where(xx > 0, xx, 1), 1), jnp.zeros_like(xx))
    least_rho = (jnp.ones_like(xx), jnp.maximum((sz - xz) / zz, 0))

    def misfit(rho, sigma):
        return (
            xx * rho**2 + zz * sigma**2 + 2 * (xz * rho * sigma - sx * rho - sz * sigma)
        )

    inside = usable & (free[0] >= 1) & (free[1] >= 0)
    noisy = misfit(*least_rho) < misfit(*no_noise)
    rho, sigma = (
        jnp.where(inside, a, jnp.where(noisy, b, c))
        for a, b, c in zip(free, least_rho, no_noise, strict=True)
    )
    return rho, sigma * unit[..., 0]


def _without_each(points: jax.Array) -> jax.Array:
    """``(n,)`` -> ``(n, n - 1)``: all but one of them."""
    n = points.shape[-1]
    others = (jnp.arange(n)[:, None] + 1 + jnp.arange(n - 1)) % n
    return points[others]


def strong_growth(trajectory: GradientSample) -> StrongGrowth:
    r"""Strong growth constant and noise floor.

    Fits :math:`E|\nabla f_i(w)|^2 = \rho\,|\nabla f(w)|^2 + \sigma^2` by least relative
    squares, under :math:`\rho \ge 1`, :math:`\sigma^2 \ge 0`. The intervals join two
    jackknives: over groups of examples and over the points of the trajectory.

    Args:
      trajectory: arrays with a leading axis of points, at least two; ``rho`` and the
        floor are told apart only if |grad f| differs among them.

    Returns:
      A ``StrongGrowth``. For batches of B in place of examples, rho is
      ``1 + (rho - 1) / B`` and the floor ``noise_floor / B``.

    Raises:
      ValueError: fewer than two points.

    Cost:
      No pass.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls.diagnostics import gradient_sample, strong_growth
      >>> def loss(w, i):  # one coordinate of four an example: rho = 4
      ...     return 0.5 * w[i] ** 2
      >>> points = jnp.array([[1.0, 2.0, 3.0, 4.0], [0.1, 0.1, 0.3, 0.5]])
      >>> sample = lambda w: gradient_sample(loss, w, jnp.arange(4), chunk_size=1)
      >>> growth = strong_growth(jax.vmap(sample)(points))
      >>> print(f"{growth.rho.value:.2f} {growth.noise_floor.value:.2f}")
      4.00 0.00

    Reference:
      Schmidt and Le Roux, Fast convergence of SGD under a strong growth condition,
      2013; Vaswani, Bach and Schmidt, 2019, arXiv:1810.07288.
    """
    squared, gradient = trajectory.mean_squared_norm, trajectory.squared_mean_norm
    if squared.ndim != 1 or len(squared) < 2:
        raise ValueError(f"a trajectory has >= 2 points, got shape {squared.shape}")
    rho, sigma = _fit(squared, gradient)
    by_group = _fit(trajectory.left_out[:, _SQUARED].T, trajectory.left_out[:, _MEAN].T)
    by_point = _fit(_without_each(squared), _without_each(gradient))
    errors = [
        jnp.hypot(jackknife_error(groups), jackknife_error(points))
        for groups, points in zip(by_group, by_point, strict=True)
    ]
    ratio = (squared - sigma) / jnp.where(gradient > 0, gradient, jnp.inf)
    return StrongGrowth(
        around(rho, errors[0], least=1.0, rounding=_ROUNDING),
        around(sigma, errors[1], least=0.0, rounding=_ROUNDING),
        jnp.maximum(jnp.max(ratio), 1.0),
    )


def _over_gap(
    trajectory: GradientSample, row: int, minimum: float, sign: int
) -> Estimate:
    """Squared norm over ``2 (f - minimum)`` where it is largest (sign 1) or least (-1).

    The interval is a jackknife over groups of examples at that point; points whose
    ratio is not finite are passed over.
    """
    norms = (trajectory.mean_squared_norm, trajectory.squared_mean_norm)[row]
    gap = 2 * jnp.maximum(trajectory.values.mean(-1) - minimum, 0)
    ratio = norms / gap
    index = jnp.argmax(jnp.where(jnp.isfinite(ratio), sign * ratio, -jnp.inf))
    error = jackknife_error(trajectory.left_out[index, row] / gap[index])
    return around(ratio[index], error, least=0.0, rounding=_ROUNDING)


def weak_growth(trajectory: GradientSample, minimum: float = 0.0) -> Estimate:
    r"""Weak growth: the largest :math:`E|\nabla f_i|^2 / (2 (f - f^*))` seen.

    It is :math:`\rho_w L` of :math:`E|\nabla f_i|^2 \le 2 \rho_w L (f - f^*)`; SGD
    with a step of its inverse converges on convex losses that interpolate.

    Args:
      trajectory: arrays with a leading axis of points.
      minimum: f*, loss units.

    Returns:
      An ``Estimate``, the inverse of a step size; the interval is by a jackknife over
      groups of examples at the point where the ratio is largest.

    Cost:
      No pass.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls.diagnostics import gradient_sample, weak_growth
      >>> def loss(w, a):
      ...     return 0.5 * a * w**2
      >>> sample = gradient_sample(loss, jnp.array(2.0), jnp.array([1.0, 3.0]))
      >>> path = jax.tree.map(lambda leaf: leaf[None], sample)
      >>> print(weak_growth(path).value)  # (1 + 9) / 2 w^2 over 2 w^2
      2.5

    Reference:
      Vaswani, Bach and Schmidt, 2019, arXiv:1810.07288.
    """
    return _over_gap(trajectory, _SQUARED, minimum, 1)


def polyak_lojasiewicz(trajectory: GradientSample, minimum: float = 0.0) -> Estimate:
    r"""The PL constant: the least :math:`|\nabla f|^2 / (2 (f - f^*))` seen.

    :math:`\frac12 |\nabla f|^2 \ge \mu (f - f^*)` gives gradient descent the rate
    :math:`1 - \mu / L` without convexity.

    Args:
      trajectory: arrays with a leading axis of points.
      minimum: f*, loss units.

    Returns:
      An ``Estimate`` of mu, in loss per squared unit of the params.

    Cost:
      No pass.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls.diagnostics import gradient_sample, polyak_lojasiewicz
      >>> def loss(w, a):
      ...     return 0.5 * a * w**2
      >>> sample = gradient_sample(loss, jnp.array(2.0), jnp.array([1.0, 3.0]))
      >>> path = jax.tree.map(lambda leaf: leaf[None], sample)
      >>> print(polyak_lojasiewicz(path).value)
      2.0

    Reference:
      Karimi, Nutini and Schmidt, 2016, arXiv:1608.04636.
    """
    return _over_gap(trajectory, _MEAN, minimum, -1)
