"""Paths that end in a proximal operator or a projection."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls.parts.paths._bounds import nudged
from optaxls.parts.paths._penalised import penalised
from optaxls.parts.types import Origin, Params, Path, Proximal


def _scaled_sizes(origin: Origin, step_size: jax.Array, far: Params) -> Any:
    """The step size of every coordinate: times the diagonal of the preconditioner."""
    if origin.scaling is None:
        return step_size
    return jax.tree.map(
        lambda s, f: step_size * s if trees.is_inexact(f) else f, origin.scaling, far
    )


def _updates(prox: Proximal, origin: Origin, step_size: jax.Array) -> Params:
    """``prox(w + step_size * d) - w`` in the dtypes of the params."""
    params = origin.params
    line = trees.scale(step_size, trees.wide(origin.direction))
    far = jax.tree.map(
        lambda p, m: p + m if trees.is_inexact(p) else p, trees.wide(params), line
    )
    place = prox.prox(far, _scaled_sizes(origin, step_size, far))

    def leaf(p: Any, m: Any, f: Any, t: Any) -> Any:
        if not trees.is_inexact(p):
            return jnp.zeros_like(p)
        # A coordinate that the operator leaves alone moves as on the line, without the
        # rounding of a difference. One that becomes 0 becomes so exactly.
        return jnp.where(t == f, m, t - p).astype(p.dtype)

    updates = jax.tree.map(leaf, jax.tree.map(jnp.asarray, params), line, far, place)
    if prox.bounds is None:
        return updates
    return nudged(prox.bounds, params, updates)


def _path(prox: Proximal) -> Path:
    return penalised(prox, functools.partial(_updates, prox))


def _require(prox: Any, name: str) -> None:
    if not isinstance(prox, Proximal):
        raise TypeError(
            f"{name}: prox must be a Proximal such as optaxls.prox.l1(0.1), "
            f"got {prox!r}"
        )


def along_prox(prox: Proximal) -> Path:
    r"""Moves along the direction, and then by the proximal operator of a penalty.

    :math:`w_+(\eta) = \operatorname{prox}_{\eta h}(w + \eta d)` with the penalty h of
    ``prox``. ``value_fn`` and ``grad`` are those of the loss f alone. What is tested,
    and reported as ``value``, is :math:`f + h`. The predicted decrease in it is
    :math:`\langle g, w_+ - w\rangle + h(w_+) - h(w)`, and the squared length of the
    step :math:`\|w_+ - w\|^2`. For :math:`d = -g` the former is at most
    :math:`-\|w_+ - w\|^2/\eta`, so Armijo's inequality holds for short steps.

    A coordinate that becomes 0 is 0 exactly. Whether a step is made depends on what it
    predicts, not on the slope: where :math:`g = 0` a penalty moves the params still.

    Under a preconditioner (``scale_by_preconditioned_search``) the operator is that in
    the metric of the preconditioner. It has to be separable: ``l1``, ``l2``, ``box`` or
    ``nonnegative``. Any other raises ``TypeError`` in the first ``update``.

    Args:
      prox: one of ``optaxls.prox``, such as ``optaxls.prox.l1(0.1)``.

    Returns:
      A path for ``scale_by_line_search``, ``scale_by_initial_step`` and the optimizers
      that have a ``path``. For a set it is ``along_projection(prox)``.

    Raises:
      TypeError: ``prox`` is of another kind.

    Cost:
      Per trial one proximal operator and one penalty, besides the loss. About four more
      in a step.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w, targets = jnp.array([1.0, 1.0]), jnp.array([3.0, 0.25])
      >>> result = optaxls.line_search(      # soft thresholding solves it at once
      ...     lambda w: 0.5 * jnp.sum((w - targets)**2), w, targets - w,
      ...     value=0.5 * jnp.sum((w - targets)**2), grad=w - targets,
      ...     condition=optaxls.armijo(0.5), initial_step=optaxls.constant(1.0),
      ...     path=optaxls.along_prox(optaxls.prox.l1(0.5)))
      >>> print(result.params, result.value)
      [2.5 0. ] 1.40625

    Reference:
      Beck and Teboulle 2009, A Fast Iterative Shrinkage-Thresholding Algorithm, section
      2; Lee, Sun, Saunders 2014, arXiv:1206.1623, for the test.
    """
    _require(prox, "along_prox")
    return _path(prox)


def along_projection(prox: Proximal | Callable[[Params], Params]) -> Path:
    r"""Moves along the direction, and then to the nearest point of a set.

    :math:`w_+(\eta) = P(w + \eta d)`, so that every trial and every step lies in the
    set. With ``box`` and ``nonnegative`` it does so to the last bit: where
    :math:`w + (b - w)` rounds to a number beyond the bound b, the update is the next
    one in floating point.

    Params outside of the set are moved into it by the first step whose loss is finite.
    That step is the projection alone. It is not searched, and ``step_size`` is 0.

    What moves the params after this path leaves the set: momentum, weight decay.
    ``keep_inside(prox)`` behind it in the chain takes them back.

    Args:
      prox: a set of ``optaxls.prox``, such as ``optaxls.prox.box(0, 1)``; or a function
        ``params -> params`` that projects, such as those of ``optax.projections``.

    Returns:
      A path for ``scale_by_line_search``, ``scale_by_initial_step`` and the optimizers
      that have a ``path``.

    Raises:
      TypeError: ``prox`` is of another kind. ValueError: it is a penalty and no set.

    Cost:
      Per trial one projection besides the loss. About five more in a step.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> w = jnp.array([0.5, 0.5])
      >>> result = optaxls.line_search(
      ...     lambda w: jnp.sum(w), w, -jnp.ones(2), value=jnp.array(1.0),
      ...     grad=jnp.ones(2), condition=optaxls.armijo(0.5),
      ...     initial_step=optaxls.constant(4.0),
      ...     path=optaxls.along_projection(optaxls.prox.box(0.0, 1.0)))
      >>> print(result.params, result.num_trials)
      [0. 0.] 1

    Reference:
      Bertsekas 1976, On the Goldstein-Levitin-Polyak Gradient Projection Method.
    """
    if callable(prox) and not isinstance(prox, Proximal):
        project = prox
        prox = Proximal(
            lambda params, step_size: project(params),
            lambda params: jnp.zeros((), trees.scalar_dtype(params)),
            domain=project,
            is_set=True,
        )
    _require(prox, "along_projection")
    if not prox.is_set:
        raise ValueError(
            "along_projection: prox must be a set such as optaxls.prox.box(0, 1), got "
            "a penalty: use along_prox"
        )
    return _path(prox)
