"""The direction to the least point of a plane: step and momentum chosen together."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import (
    descent_direction,
    hold_integers,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.loss import as_scalar, scalar_value_fn
from optaxls.directions.acceleration._plane_model import (
    PlaneLoss,
    moved,
    of_loss,
    of_quadratic_model,
)
from optaxls.parts.types import Params

_NAME = "scale_by_plane"


class PlaneState(NamedTuple):
    """The params of the step before, and how far the last step went in its plane.

    ``along_direction`` and ``along_displacement`` are lengths in units of the params,
    with the sign of the step.
    """

    last_params: Params
    along_direction: jax.Array
    along_displacement: jax.Array


def _unit(tree: Params, dtype: Any) -> Params:
    """The tree with the length 1, and zeros for zeros."""
    sqnorm = trees.sqnorm(tree, dtype)
    inverse = jax.lax.rsqrt(jnp.where(sqnorm > 0, sqnorm, 1))
    return trees.scale(inverse, tree)


def _loss_in_plane(
    value_fn: Any, params: Params, vectors: tuple[Params, Params], dtype: Any
) -> PlaneLoss:
    loss = scalar_value_fn(value_fn, dtype)
    return lambda by: loss(moved(params, vectors, by)).astype(dtype)


def _loss_of_predictions(
    predict_fn: Any,
    loss_fn: Any,
    params: Params,
    vectors: tuple[Params, Params],
    dtype: Any,
) -> PlaneLoss:
    """The loss of linearised predictions, which are computed here, once."""
    here, linear = jax.linearize(
        lambda by: predict_fn(moved(params, vectors, by)), jnp.zeros(2, dtype)
    )
    along = tuple(linear(axis) for axis in jnp.eye(2, dtype=dtype))

    def loss(by: jax.Array) -> jax.Array:
        found = loss_fn(moved(here, along, by))
        return as_scalar(found, dtype, "what prediction_loss_fn returns").astype(dtype)

    return loss


def _least(
    params: Params, vectors: Any, dtype: Any, given: Any, max_newton_steps: int
) -> jax.Array:
    """Where the loss is least in the plane, as far as ``given`` tells."""
    value_fn, predict_fn, loss_fn = given
    zero = jnp.zeros(2, dtype)
    if predict_fn is None and loss_fn is None:
        require_arguments(_NAME, value_fn=value_fn)
        plane = _loss_in_plane(value_fn, params, vectors, dtype)
        return of_quadratic_model(plane, zero)
    require_arguments(_NAME, predict_fn=predict_fn, prediction_loss_fn=loss_fn)
    plane = _loss_of_predictions(predict_fn, loss_fn, params, vectors, dtype)
    return of_loss(plane, zero, max_newton_steps)


def scale_by_plane(
    *, max_newton_steps: int = 10
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces a direction by the way to the least point of a plane.

    The plane is that of the incoming direction d and of the last displacement,
    :math:`p = w_k - w_{k-1}`, both scaled to unit length:
    :math:`D = [d/\|d\|, p/\|p\|]`. The outgoing direction is :math:`D t` with t the two
    numbers that minimise :math:`g^\top D t + \frac12 t^\top D^\top H D\,t`, H the
    Hessian of the batch's loss. So step size and momentum are chosen together, and
    either may be negative. Along the gradient of a quadratic it is the method of
    conjugate gradients. A search behind it begins with the step size 1.

    With ``predict_fn`` and ``prediction_loss_fn`` the loss itself is minimised in the
    plane, by Newton steps on ``prediction_loss_fn(z + t_1 z_1 + t_2 z_2)``. Here z are
    the predictions, and the others their changes along D, computed once. For a model
    linear in its params this is exact, and n examples cost O(n) a trial. It is so for
    two layers as well, with z the inputs of the hidden units and the second layer.

    Args:
      max_newton_steps: >= 1, of the Newton steps in the plane, with ``predict_fn``.

    Returns:
      A transformation of what is *added*: ``optax.scale(-1.0)`` comes before it, and
      ``scale_by_line_search(armijo(1e-4), constant(1.0), backtracking(0.5))`` behind.
      ``update`` needs ``params``, ``grad`` and ``value_fn``, or in place of the last
      one ``predict_fn`` (params -> z, any tree) and ``prediction_loss_fn`` (z -> loss).
      Params that the loss needs besides, as for a penalty, belong to z: let it be
      (predictions, params).

      Before there is a displacement the plane is the line along d. Curvatures count by
      their absolute value, and directions without curvature are left out. Where nothing
      is left, or a number is not finite, the incoming direction is returned.

    State:
      ``last_params``; ``along_direction`` and ``along_displacement``, the two signed
      lengths.

    Raises:
      ValueError: ``max_newton_steps`` lies outside its range.
      TypeError: an argument of ``update`` is missing.

    Cost:
      Two products with the Hessian, each about two gradients; or one pass of
      ``predict_fn`` and two of its derivative. One copy of the params, two in a step.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optax.chain(
      ...     optax.scale(-1.0), optaxls.scale_by_plane(),
      ...     optaxls.scale_by_line_search(optaxls.armijo(1e-4), optaxls.constant(1.0)))
      >>> step = optaxls.make_step(
      ...     lambda w: (w[0]**2 + 10 * w[1]**2) / 2, optimizer)
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):        # as many as there are params
      ...     w, state, *_ = step(w, state)
      >>> bool(jnp.max(jnp.abs(w)) < 1e-6)
      True

    Reference:
      Shea and Schmidt, Why line search when you can plane search?, 2024,
      arXiv:2406.17954. Its inner solver is a quasi-Newton method; that a search tests
      the outcome once more is ours.
    """
    checks.require_integer("max_newton_steps", max_newton_steps, 1)

    def init(params: Params) -> PlaneState:
        zero = jnp.zeros((), trees.scalar_dtype(params))
        return trees.fresh(PlaneState(params, zero, zero))

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        grad: Any = None,
        value_fn: Any = None,
        predict_fn: Any = None,
        prediction_loss_fn: Any = None,
        **extra: Any,
    ) -> tuple[Params, PlaneState]:
        del extra
        require_arguments(_NAME, params=params, grad=grad)
        updates = hold_integers(updates, params)
        require_same_leaves(_NAME, updates, params=params, grad=grad)
        updates = descent_direction(updates, grad)
        dtype = trees.scalar_dtype(params)
        displacement = trees.difference(params, state.last_params)
        vectors = (_unit(updates, dtype), _unit(displacement, dtype))
        given = (value_fn, predict_fn, prediction_loss_fn)
        found = _least(params, vectors, dtype, given, max_newton_steps)
        zeros = jax.tree.map(jnp.zeros_like, updates)
        found_direction = hold_integers(moved(zeros, vectors, found), params)
        length = trees.sqnorm(found_direction, dtype)
        usable = jnp.isfinite(length) & (length > 0)
        direction = trees.select(usable, found_direction, updates)
        found = jnp.where(usable, found, 0)
        new = PlaneState(params, found[0], found[1])
        return direction, trees.cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)
