"""GeN: Adam whose step size follows a parabola, written from its formulas."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class GenState(NamedTuple):
    """The state of `gen`.

    Attributes:
        count: steps made.
        step_size: of the step made next.
        last: the updates of the step made last.
        num_linesearch_steps: forward passes that this step spent on trials.
        direction: the state of the direction.
    """

    count: jax.Array
    step_size: jax.Array
    last: Any
    num_linesearch_steps: jax.Array
    direction: Any


def _refitted(
    step_size: jax.Array, scale: Any, behind: jax.Array, at: jax.Array, ahead: jax.Array
) -> jax.Array:
    """The step size after a parabola through three losses on the line of a step."""
    slope = (behind - ahead) / 2
    curvature = ahead - 2 * at + behind
    convex = (slope > 0) & (curvature > 0)
    ratio = jnp.clip(slope / jnp.where(convex, curvature, 1), 0.5, 2.0)
    factor = jnp.where(convex, 0.9 + 0.1 * scale * ratio, 1.0)
    return step_size * jnp.where(jnp.isfinite(curvature), factor, 0.5)


def gen(
    num_steps: int | None = None,
    step_size: float = 1e-4,
    weight_decay: float = 0.01,
    every: int = 4,
) -> optax.GradientTransformationExtraArgs:
    """GeN: AdamW whose step size follows a parabola through losses of the next batch.

    A step from `w` to `w - eta d` is judged on the batch after it, by three losses:
    `L+` at `w - eta d`, `L0` at `w` and `L-` at `w + eta d`. They give the slope
    `(L- - L+) / 2` and the curvature `L+ - 2 L0 + L-`, both in units of `eta`, hence
    `eta* = eta slope / curvature`. If both are positive, `eta` becomes
    `0.9 eta + 0.1 clip(eta*, eta / 2, 2 eta)`. It is halved where a loss is not finite,
    and else kept.

    As in gen-optim 0.1.1 every fourth step is judged, AdamW starts at 1e-4 with
    PyTorch's weight decay. With `num_steps` the second part of the mean is multiplied
    by what is left of the run, from 1 to 0. So it is in the example of its README, but
    not by default. It also asks for `R^2 > 0.99`, which three losses always meet.

    Two things differ here. `L+` is the loss that the next step needs in any case, so a
    judgement costs two forward passes, not three, and `eta` changes one step later. The
    moments of Adam take each gradient once, there those of a judged step twice.

    Reference:
      Bu and Xu, Gradient descent with generalized Newton's method, arXiv:2407.02772.
    """
    direction = optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(weight_decay)
    )

    def init(params: Any) -> GenState:
        zeros, zero = optax.tree.zeros_like(params), jnp.int32(0)
        return GenState(
            zero, jnp.asarray(step_size), zeros, zero, direction.init(params)
        )

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, GenState]:
        def judged() -> jax.Array:
            at = optax.tree.sub(params, state.last)
            behind = optax.tree.sub(at, state.last)
            # With batch statistics the function returns them beside the loss.
            before, here = (
                jax.tree.leaves(extra["value_fn"](w))[0] for w in (behind, at)
            )
            scale = 1 - state.count / num_steps if num_steps else 1.0
            size = _refitted(state.step_size, scale, before, here, extra["value"])
            return size.astype(state.step_size.dtype)

        judges = (state.count > 0) & (state.count % every == 0)
        size = jax.lax.cond(judges, judged, lambda: state.step_size)
        updates, inner = direction.update(updates, state.direction, params)
        updates = jax.tree.map(lambda d: (-size * d).astype(d.dtype), updates)
        trials = jnp.where(judges, 2, 0).astype(jnp.int32)
        return updates, GenState(state.count + 1, size, updates, trials, inner)

    return optax.GradientTransformationExtraArgs(init, update)
