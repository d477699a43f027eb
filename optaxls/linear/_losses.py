"""The losses of one example, as functions of its prediction and its target."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """A convex loss of a prediction ``z`` and a target ``y``.

    Attributes:
      value: ``(z, y) -> loss``, elementwise.
      slope: ``(z, y) ->`` its derivative with respect to ``z``, elementwise.
      curvature: the largest second derivative; infinite where there is a kink.
      has_labels: whether targets are two classes, which arrive here as -1 and 1.
    """

    value: Callable[[Any, Any], jax.Array]
    slope: Callable[[Any, Any], jax.Array]
    curvature: float
    has_labels: bool


_logistic = Loss(
    value=lambda z, y: jax.nn.softplus(-y * z),
    slope=lambda z, y: -y * jax.nn.sigmoid(-y * z),
    curvature=0.25,
    has_labels=True,
)
_squared = Loss(
    value=lambda z, y: 0.5 * (z - y) ** 2,
    slope=lambda z, y: z - y,
    curvature=1.0,
    has_labels=False,
)


def _huber_value(z: Any, y: Any) -> jax.Array:
    distance = jnp.abs(z - y)
    inside = jnp.minimum(distance, 1)
    return inside * (distance - 0.5 * inside)


_huber = Loss(
    value=_huber_value,
    slope=lambda z, y: jnp.clip(z - y, -1, 1),
    curvature=1.0,
    has_labels=False,
)
_hinge = Loss(
    value=lambda z, y: jnp.maximum(1 - y * z, 0),
    slope=lambda z, y: jnp.where(y * z < 1, -y, 0),
    curvature=float("inf"),
    has_labels=True,
)

LOSSES = {
    "logistic": _logistic,
    "squared": _squared,
    "huber": _huber,
    "hinge": _hinge,
}
