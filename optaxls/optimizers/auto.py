"""The optimizer for those who want no step size to choose."""

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
    r"""No step size to choose, no epoch length, no end of training to know.

    Its parts, and what each is for:

    - ``direction``, Adam's with Nesterov momentum by default (b1 0.95, b2 0.99: long
      momentum against noise, a short second moment that follows shrinking gradients),
      ``guarded``: a batch that exploded or is not finite does not stay in its moments.
    - ``cautious``: coordinates that would climb the present batch are left out, so
      that every step goes down, and h below is not spoilt by momentum gone astray.
    - The first step is bracketed: halved or doubled to the longest that keeps half of
      the decrease that its slope promises. That finds the unit of the direction. What
      it may promise is ``bounded``, for losses without a lower bound.
    - Every later step is judged by ``hindsight``: the slope, on a fresh batch, along
      the way come so far. Noisy problems anneal, separable ones grow their step. No
      step promises more decrease than the loss is large, neither by this batch's
      slope nor by the typical one, unless the loss is measured from elsewhere.
    - ``extrapolated``: momentum from the mean iterate, which averages the noise out.

    Args:
      direction: any optax transformation of gradients that gives a direction (to be
        descended along: ``optax.identity()``, ``optax.scale_by_lion()``). A whole
        optimizer (``optax.adam(1e-3)``) has its minus sign already and is refused:
        it is tried on a small vector, and in ``init`` where that cannot tell. Where
        neither can (it needs arguments of its own), no step is accepted.
      weight_decay: >= 0, decoupled as in AdamW: a step of size eta also subtracts
        ``eta * weight_decay * w``, untested. The step size found takes part so that
        where training comes to rest does not depend on it.
      rate: > 0, how fast hindsight corrects.
      tolerance: in [-1, 1], the S / A that it aims at; less anneals more.
      decay: in [0, 1), weight of the past in S and A.
      max_trials: >= 1, of the first step.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range, or ``direction`` goes
        downhill, here or in ``init``.
      TypeError: ``direction`` is not an optax transformation.

    Cost:
      About 4 to 12 forward passes on the first step, none later. One copy of the params
      (float32) besides what the direction keeps.

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
      Ours; the parts cite theirs.
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
    # Where it is 0 it would cost a pass.
    if not isinstance(weight_decay, (int, float)) or weight_decay > 0:
        rule = decayed(rule, weight_decay)
    optimizer = optax.chain(guarded(direction), descent(), cautious(name="auto"), rule)
    needs = ("params", "value", "grad", "value_fn")
    return conjugated(optimizer, name="auto", needs=needs)
