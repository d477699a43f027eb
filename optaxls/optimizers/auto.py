"""An optimizer that finds its step sizes itself."""

import optax

from optaxls._core import checks
from optaxls.directions._ascent import checked_direction
from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.directions.cautious import cautious
from optaxls.directions.guarded import guarded
from optaxls.parts.conditions.bounded import bounded
from optaxls.parts.conditions.monotone import armijo
from optaxls.parts.gates import first
from optaxls.parts.initial_steps.hindsight import hindsight
from optaxls.parts.searches.bracketing import bracketing
from optaxls.transforms.decayed import decayed
from optaxls.transforms.extrapolated import extrapolated
from optaxls.transforms.searched import scale_by_line_search


def auto(
    direction: optax.GradientTransformation | None = None,
    *,
    weight_decay: float = 0.0,
    rate: float = 2.0,
    tolerance: float = 0.4,
    decay: float = 0.9,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""Trains along any direction, and finds the step sizes itself.

    No step size has to be chosen. The length of an epoch and of the training need not
    be known. Its parts, and what each is for:

    - ``direction`` is Adam's with Nesterov momentum by default. b1 is 0.95, since long
      momentum averages the noise. b2 is 0.99, so that the second moment follows
      gradients that shrink.
    - ``guarded`` keeps batches that exploded or are not finite out of the moments.
    - ``cautious`` leaves out the coordinates that would climb the present batch. So
      every step goes down, and what ``hindsight`` measures is not spoilt by old
      momentum.
    - ``bracketing`` halves or doubles the first step, to the longest one that keeps
      half of the decrease that its slope promises. That finds the unit of the
      direction. ``bounded`` limits what it may promise, for losses without a lower
      bound.
    - ``hindsight`` corrects every later step. It reads the slope, on a fresh batch,
      along the offset from the mean of the params so far. Where batches disagree steps
      shrink, where one set of params fits all they grow. No step promises more decrease
      than the loss is large, unless the loss is measured from elsewhere.
    - ``extrapolated`` adds momentum from the mean of the params, which averages the
      noise.

    Args:
      direction: any optax transformation of gradients that gives a direction (to be
        descended along: ``optax.identity()``, ``optax.scale_by_lion()``). A whole
        optimizer (``optax.adam(1e-3)``) has its minus sign already and is refused:
        it is tried on a small vector, and in ``init`` where that cannot tell. Where
        neither can, since it needs arguments of its own, such an optimizer makes no
        step that is accepted.
      weight_decay: >= 0, decoupled as in AdamW: a step of size eta also subtracts
        ``eta * weight_decay * w``, untested. Both terms have the factor eta, so the
        params at which training comes to rest do not depend on it.
      rate: > 0, dimensionless: how fast ``hindsight`` corrects the step size.
      tolerance: in [-1, 1]: the ratio of the mean slope to the mean absolute slope that
        ``hindsight`` aims at. A smaller one shortens the steps more.
      decay: in [0, 1), weight of the past in these two means.
      max_trials: >= 1, evaluations that the search of the first step may spend.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range, or ``direction`` goes
        downhill, here or in ``init``.
      TypeError: ``direction`` is not an optax transformation.

    Cost:
      The first step costs about 4 to 12 forward passes, later steps none. A search that
      fails is made again in the next step, ten times at most. One copy of the params
      (float32) is kept, besides what the direction keeps.

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
    if direction is None:
        direction = optax.scale_by_adam(0.95, 0.99, nesterov=True)
    elif hasattr(direction, "update"):
        direction = checked_direction("auto", direction)
    else:
        raise TypeError(
            "direction must be an optax transformation such as optax.scale_by_lion(),"
            f" got {direction!r}; no step size has to be given"
        )
    rule = scale_by_line_search(
        bounded(armijo(0.5)),
        hindsight(rate, tolerance, decay),
        bracketing(2.0, max_trials),
        gate=first(1),
        name="auto",
    )
    rule = extrapolated(rule)
    # Without decay the wrapper would still cost a pass over the params.
    if not isinstance(weight_decay, (int, float)) or weight_decay > 0:
        rule = decayed(rule, weight_decay)
    optimizer = optax.chain(guarded(direction), descent(), cautious(name="auto"), rule)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name="auto", needs=needs)
