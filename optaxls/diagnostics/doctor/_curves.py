"""The series that the figure of a report draws."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.diagnostics._shared.derivatives import value_and_gradient
from optaxls.diagnostics.doctor._trajectory import mean_loss
from optaxls.diagnostics.gradients import GradientSample
from optaxls.diagnostics.growth import StrongGrowth
from optaxls.diagnostics.ray import Ray, loss_along_ray

_RAY_POINTS = 41


class Curves(NamedTuple):
    """What the figure draws.

    Attributes:
      steps: after how many steps each point of the trajectory was measured.
      samples: gradients at the points, a leading axis of points.
      growth: the fit to them.
      group_losses: loss by frequency group, ``(points, groups)``; None without labels.
      ray: the loss along the negative gradient of the last batch, at the end of the
        run: first the loss of that batch, then the loss of all measured examples.
    """

    steps: tuple[int, ...]
    samples: GradientSample
    growth: StrongGrowth
    group_losses: Any
    ray: tuple[Ray, Ray]


@functools.partial(jax.jit, static_argnames=("loss_fn", "chunk_size", "lower_bound"))
def rays(
    params: Any, batch: Any, measured: Any, *, loss_fn, chunk_size, lower_bound
) -> tuple[Ray, Ray]:
    """The loss of a batch, and of all measured examples, along the batch's descent."""
    loss = mean_loss(loss_fn)
    # Rematerialised: the activations of all examples would not fit in memory.
    of_example = jax.checkpoint(loss_fn)

    def of_measured(params: Any) -> jax.Array:
        return jax.lax.map(
            lambda example: of_example(params, example),
            measured,
            batch_size=chunk_size,
        ).mean()

    value, grad = value_and_gradient(lambda p: loss(p, batch), params)
    # Around the Polyak step, so that the searches' steps lie inside the figure.
    polyak = (value - lower_bound) / trees.sqnorm(grad, value.dtype)
    usable = jnp.isfinite(polyak) & (polyak > 0)
    center = jnp.where(usable, polyak, 1.0)
    sizes = center * jnp.geomspace(1e-3, 1e2, _RAY_POINTS)
    descent = trees.reverse(trees.conj(grad))

    def along(value_fn: Any) -> Ray:
        return loss_along_ray(value_fn, params, descent, sizes, lower_bound=lower_bound)

    return along(lambda p: loss(p, batch)), along(of_measured)
