"""An optimizer that finds its step sizes itself."""

import optax

from optaxls._core import checks
from optaxls.directions._ascent import checked_direction
from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.directions.cautious import cautious
from optaxls.directions.guarded import guarded
from optaxls.parts.initial_steps.hindsight import hindsight
from optaxls.parts.paths.line import along_direction
from optaxls.parts.types import Path
from optaxls.transforms.decayed import decayed
from optaxls.transforms.preconditioned import scale_by_preconditioned_search
from optaxls.transforms.tail_averaged import tail_averaged
from optaxls.transforms.untested import scale_by_initial_step

# Adam's direction becomes short where batches disagree. Another may stay as long: then
# climbs are smaller, and steps that are too long do more harm.
_TOLERANCE, _TOLERANCE_ALONG = 0.2, 0.1
_LONGEST_ALONG = 0.01


def _along(
    direction: optax.GradientTransformation | None,
    rule: optax.GradientTransformationExtraArgs,
    path: Path,
    weight_decay: float,
) -> optax.GradientTransformationExtraArgs:
    """The average behind a step along a path with a ``prox``."""
    if direction is not None:
        step = optax.chain(guarded(direction), descent(), rule)
        return tail_averaged(decayed(step, weight_decay))
    if path.prox is not None and not path.prox.separable:
        raise ValueError(
            "path needs a direction in the metric of the params, such as optax."
            f"identity(): its penalty is no sum over the coordinates, got {path.prox!r}"
        )
    step = scale_by_preconditioned_search(rule, b1=0.9, b2=0.99, name="auto")
    return tail_averaged(decayed(step, weight_decay))


def auto(
    direction: optax.GradientTransformation | None = None,
    *,
    weight_decay: float = 0.0,
    rate: float = 1.0,
    tolerance: float | None = None,
    decay: float = 0.9,
    path: Path = along_direction,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains along any direction, and finds the step sizes itself.

    No step size has to be chosen. The length of an epoch and of the training need not
    be known. Evaluate and keep ``optaxls.eval_params(opt_state, params)``, the average
    of the last part of the run. Its parts, and what each is for:

    - ``direction`` is Adam's with Nesterov momentum by default, with b1 = 0.9. b2 is
      0.99, so that the second moment follows gradients that shrink.
    - ``guarded`` keeps batches that exploded or are not finite out of the moments.
    - ``cautious`` leaves out the coordinates that would climb the present batch. So
      every step goes down, and what ``hindsight`` measures is not spoilt by old
      momentum.
    - ``hindsight`` finds the step sizes. The first step moves the params by 6 % of
      their length. Every later batch tells whether the offset from the mean of the
      params so far still goes down: then steps grow. If it climbs much, they shrink.
      Between the two they stay long.
    - ``tail_averaged`` keeps the average that ``eval_params`` returns. So the step size
      need not be annealed: long steps circle around a point that the average is near.
      It also takes the params back from a region where the loss is not finite.

    Args:
      direction: any optax transformation of gradients that gives a direction (to be
        descended along: ``optax.identity()``, ``optax.scale_by_lion()``). A whole
        optimizer (``optax.adam(1e-3)``) has its minus sign already and is refused:
        it is tried on a small vector, and in ``init`` where that cannot tell. Where
        neither can, since it needs arguments of its own, ``cautious`` reverses it: all
        of its coordinates climb.
      weight_decay: >= 0, decoupled as in AdamW: a step of size eta also subtracts
        ``eta * weight_decay * w``, untested. Both terms have the factor eta, so the
        params at which training comes to rest do not depend on it.
      rate: > 0, dimensionless: how fast ``hindsight`` corrects the step size.
      tolerance: in (0, 0.25]: how much the offset from the mean may climb on new
        batches before ``hindsight`` shortens the steps. A smaller one makes them
        shorter. None is 0.2, and 0.1 along a ``direction`` that is given. Steps along
        such a one are also limited, to 1 % of the length of the params where it
        disagrees with the batches (``max_relative_length`` of ``hindsight``).
      decay: in [0, 1), weight of the past in the running means of ``hindsight``.
      path: where a step leads: ``along_prox(...)`` or ``along_projection(...)``. The
        loss is then given without the penalty, and ``hindsight`` judges the two
        together. By default the direction is then Adam's (0.9, 0.99) in the metric of
        its preconditioner, which needs a penalty that is a sum over the coordinates.
        Other penalties need a ``direction`` in the metric of the params, such as
        ``optax.identity()``. ``cautious`` is left out. The average
        that ``eval_params`` returns lies in every convex set, but has few exact zeros:
        those are in the params themselves.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value`` and ``grad``.

    Raises:
      ValueError: an argument lies outside its range, ``direction`` goes downhill,
        here or in ``init``, or ``path`` has a penalty that needs one.
      TypeError: ``direction`` is not an optax transformation.

    Cost:
      No evaluation besides the gradient. Two copies of the params (float32) are kept,
      besides what the direction keeps.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> def loss(w, x):
      ...     return jnp.mean((x @ (w - 1.0)) ** 2)
      >>> optimizer = optaxls.auto()
      >>> step = jax.jit(optaxls.make_step(loss, optimizer))
      >>> w = jnp.zeros(3)
      >>> state = optimizer.init(w)
      >>> for key in jax.random.split(jax.random.key(0), 200):
      ...     w, state, value, _, _ = step(w, state, jax.random.normal(key, (8, 3)))
      >>> bool(jnp.allclose(w, 1.0, atol=1e-2))
      True

    Reference:
      No publication; defined here. Each part names its source.
    """
    checks.require("weight_decay", weight_decay, "[0, inf)")
    along_given = direction is not None
    if direction is None:
        if path.prox is None:
            direction = optax.scale_by_adam(0.9, 0.99, nesterov=True)
    elif hasattr(direction, "update"):
        direction = checked_direction("auto", direction)
    else:
        raise TypeError(
            "direction must be an optax transformation such as optax.scale_by_lion(),"
            f" got {direction!r}; no step size has to be given"
        )
    if tolerance is None:
        tolerance = _TOLERANCE_ALONG if along_given else _TOLERANCE
    longest = _LONGEST_ALONG if along_given else None
    first = hindsight(rate, tolerance, decay, max_relative_length=longest)
    rule = scale_by_initial_step(first, path=path, name="auto")
    if path.prox is not None or direction is None:
        parts = [_along(direction, rule, path, weight_decay)]
    else:
        last = tail_averaged(decayed(rule, weight_decay))
        parts = [guarded(direction), descent(), cautious(name="auto"), last]
    needs = ("params", "value", "grad")
    return conjugated(optax.chain(*parts), name="auto", needs=needs)
