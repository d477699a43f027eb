"""How gradients of examples grow with the gradient of the loss: the constants of SGD.

A trajectory is a ``GradientSample`` whose arrays have a leading axis of points:
``jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optaxls.diagnostics._shared.intervals import around, jackknife_error
from optaxls.diagnostics.estimate import Estimate
from optaxls.diagnostics.gradients import GradientSample

# Relative error of a sum of many float32 products.
_ROUNDING = 1e-4
_SQUARED, _MEAN = 0, 1  # rows of ``GradientSample.left_out``


class StrongGrowth(NamedTuple):
    """Constants of ``E|grad f_i|^2 <= rho |grad f|^2 + noise_floor`` on a trajectory.

    Attributes:
      rho: >= 1, fitted. SGD with the step 1 / (rho L) is ``rho`` times slower than
        gradient descent with 1 / L.
      noise_floor: sigma^2, the squared gradient of examples where the gradient of the
        loss is 0. It is 0 under interpolation; loss^2 per squared unit of the params.
      rho_bound: the least rho for which the inequality holds at every point, with the
        fitted noise floor.
    """

    rho: Estimate
    noise_floor: Estimate
    rho_bound: jax.Array


def _require_points(trajectory: GradientSample, minimum: int) -> None:
    """Raises ValueError unless the arrays have one leading axis of enough points.

    A single sample would be read as a trajectory whose points are its examples.
    """
    shapes = {
        name: jnp.shape(getattr(trajectory, name))
        for name in ("mean_squared_norm", "squared_mean_norm", "values", "left_out")
    }
    shape = shapes["mean_squared_norm"]
    if len(shape) != 1 or shape[0] < minimum:
        raise ValueError(f"a trajectory has >= {minimum} points, got shape {shape}")
    axes = {"squared_mean_norm": 1, "values": 2, "left_out": 3}
    for name, count in axes.items():
        found = shapes[name]
        if len(found) != count or found[0] != shape[0]:
            raise ValueError(
                f"{name} of a trajectory of {shape[0]} points must have {count} axes,"
                f" the first of length {shape[0]}, got shape {found}"
            )


def _fit(squared: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """rho >= 1 and sigma^2 >= 0 of least relative squares; points on the last axis."""
    # A point where every example has the gradient 0 satisfies every bound.
    counts = squared > 0
    # The least square as unit: 1 / square itself overflows below 1e-38.
    unit = jnp.min(squared, -1, keepdims=True, where=counts, initial=jnp.inf)
    unit = jnp.where(jnp.isfinite(unit), unit, 1)
    size = jnp.where(counts, squared, 1)
    x, z = jnp.where(counts, gradient / size, 0), jnp.where(counts, unit / size, 0)
    sums = [jnp.sum(product, -1) for product in (x * x, x * z, z * z, x, z)]
    xx, xz, zz, sx, sz = sums
    det = xx * zz - xz**2
    # Points with one ratio of x to z fix only one number: the noise is set to 0.
    usable = det > 1e-9 * xx * zz
    safe = jnp.where(usable, det, 1)
    free = ((zz * sx - xz * sz) / safe, (xx * sz - xz * sx) / safe)
    # On either edge of the allowed region one unknown is left to fit.
    no_noise = (jnp.maximum(sx / jnp.where(xx > 0, xx, 1), 1), jnp.zeros_like(xx))
    least_rho = (jnp.ones_like(xx), jnp.maximum((sz - xz) / zz, 0))

    def misfit(rho, sigma):
        return (
            xx * rho**2 + zz * sigma**2 + 2 * (xz * rho * sigma - sx * rho - sz * sigma)
        )

    # The misfit is convex: outside the allowed region its minimum lies on an edge.
    inside = usable & (free[0] >= 1) & (free[1] >= 0)
    noisy = misfit(*least_rho) < misfit(*no_noise)
    rho, sigma = (
        jnp.where(inside, a, jnp.where(noisy, b, c))
        for a, b, c in zip(free, least_rho, no_noise, strict=True)
    )
    return rho, sigma * unit[..., 0]


def _without_each(points: jax.Array) -> jax.Array:
    """Copies of the points with one of them left out, ``(n,)`` -> ``(n, n - 1)``."""
    n = points.shape[-1]
    # Row i starts behind point i and wraps round.
    others = (jnp.arange(n)[:, None] + 1 + jnp.arange(n - 1)) % n
    return points[others]


def strong_growth(trajectory: GradientSample) -> StrongGrowth:
    r"""Fits the strong growth constant and the noise floor to a trajectory.

    :math:`E|\nabla f_i(w)|^2 = \rho\,|\nabla f(w)|^2 + \sigma^2` by least relative
    squares, under :math:`\rho \ge 1` and :math:`\sigma^2 \ge 0`. The intervals add two
    jackknife errors: over groups of examples and over the points of the trajectory.

    Args:
      trajectory: arrays with a leading axis of points, at least two. Where |grad f| is
        the same at all points, rho and the floor cannot be told apart.

    Returns:
      A ``StrongGrowth`` of single examples. Batches of B have the constant
      ``1 + (rho - 1) / B`` and the floor ``noise_floor / B``.

    Raises:
      ValueError: fewer than two points, or arrays that differ in their number.

    Cost:
      It evaluates no loss.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls.diagnostics import gradient_sample, strong_growth
      >>> def loss(w, i):  # each example has one coordinate of four: rho = 4
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
    _require_points(trajectory, 2)
    return _strong_growth(trajectory)


@jax.jit
def _strong_growth(trajectory: GradientSample) -> StrongGrowth:
    squared, gradient = trajectory.mean_squared_norm, trajectory.squared_mean_norm
    rho, sigma = _fit(squared, gradient)
    by_group = _fit(trajectory.left_out[:, _SQUARED].T, trajectory.left_out[:, _MEAN].T)
    # Groups tell the error of sampling; points tell how well the law fits at all.
    by_point = _fit(_without_each(squared), _without_each(gradient))
    errors = [
        jnp.hypot(jackknife_error(groups), jackknife_error(points))
        for groups, points in zip(by_group, by_point, strict=True)
    ]
    # Where the gradient is 0 no rho helps, and dividing by 0 would make it infinite.
    ratio = (squared - sigma) / jnp.where(gradient > 0, gradient, jnp.inf)
    return StrongGrowth(
        Estimate(*around(rho, errors[0], least=1.0, rounding=_ROUNDING)),
        Estimate(*around(sigma, errors[1], least=0.0, rounding=_ROUNDING)),
        jnp.maximum(jnp.max(ratio), 1.0),
    )


def _over_gap(
    trajectory: GradientSample, row: int, minimum: float, sign: int
) -> Estimate:
    """Squared norm over ``2 (f - minimum)``: its largest (sign 1) or least value (-1).

    The interval is a jackknife over groups of examples at that point. Points whose
    ratio is not finite are left out.
    """
    norms = (trajectory.mean_squared_norm, trajectory.squared_mean_norm)[row]
    # Examples may lie below the minimum by rounding; a negative ratio has no meaning.
    gap = 2 * jnp.maximum(trajectory.values.mean(-1) - minimum, 0)
    ratio = norms / gap
    index = jnp.argmax(jnp.where(jnp.isfinite(ratio), sign * ratio, -jnp.inf))
    error = jackknife_error(trajectory.left_out[index, row] / gap[index])
    return Estimate(*around(ratio[index], error, least=0.0, rounding=_ROUNDING))


def weak_growth(trajectory: GradientSample, minimum: float = 0.0) -> Estimate:
    r"""Measures weak growth: the largest ratio :math:`E|\nabla f_i|^2 / (2 (f - f^*))`.

    It is :math:`\rho_w L` in :math:`E|\nabla f_i|^2 \le 2 \rho_w L (f - f^*)`, with
    :math:`f^*` the minimum (``minimum``). SGD with the inverse of it as step size
    converges on convex losses that interpolate.

    Args:
      trajectory: arrays with a leading axis of points.
      minimum: the least value of the loss, loss units.

    Returns:
      An ``Estimate``, the inverse of a step size. Its interval is a jackknife over
      groups of examples at the point where the ratio is largest.

    Raises:
      ValueError: ``trajectory`` has no axis of points, or its arrays differ in length.

    Cost:
      It evaluates no loss.

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
    _require_points(trajectory, 1)
    return _over_gap(trajectory, _SQUARED, minimum, 1)


def polyak_lojasiewicz(trajectory: GradientSample, minimum: float = 0.0) -> Estimate:
    r"""Measures the PL constant: the least ratio :math:`|\nabla f|^2 / (2 (f - f^*))`.

    With :math:`f^*` the minimum (``minimum``), the inequality
    :math:`\frac12 |\nabla f|^2 \ge \mu (f - f^*)` gives gradient descent the rate
    :math:`1 - \mu / L` without convexity.

    Args:
      trajectory: arrays with a leading axis of points.
      minimum: the least value of the loss, loss units.

    Returns:
      An ``Estimate`` of mu, in loss per squared unit of the params.

    Raises:
      ValueError: ``trajectory`` has no axis of points, or its arrays differ in length.

    Cost:
      It evaluates no loss.

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
    _require_points(trajectory, 1)
    return _over_gap(trajectory, _MEAN, minimum, -1)
