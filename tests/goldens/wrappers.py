"""Transformations around the library's own, written as a user would."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

import optaxls

Optimizer: TypeAlias = optax.GradientTransformationExtraArgs


class SecondMoment(NamedTuple):
    """Steps made, second moment of the gradients, and its maximum so far."""

    num_steps: jax.Array
    second_moment: Any
    largest: Any


def precondition_updates(variant: str, b2: Any) -> Optimizer:
    """Multiplies the updates, found along the plain gradient, by Adam's ``P``.

    The order that AdaSLS' ``pp_lipschitz`` has; ``grad`` reaches every part of a chain.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return SecondMoment(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(updates, state, params: Any = None, *, grad: Any = None, **extra):
        del params, extra
        steps = state.num_steps + 1
        kept, fresh = (1.0, 1.0) if variant == "adagrad" else (b2, 1 - b2)
        v = jax.tree.map(
            lambda v, g: kept * v + fresh * g**2, state.second_moment, grad
        )
        largest = jax.tree.map(jnp.maximum, state.largest, v)
        correction = 1.0 if variant == "adagrad" else 1 - b2 ** steps.astype(float)
        used = largest if variant == "amsgrad" else v
        scaled = jax.tree.map(
            lambda u, v: u / (jnp.sqrt(v / correction) + 1e-8), updates, used
        )
        return scaled, SecondMoment(steps, v, largest)

    return optax.GradientTransformationExtraArgs(init, update)


class MovingBound(NamedTuple):
    """Steps made, smallest loss so far, the bound made of it, and the inner state."""

    num_steps: jax.Array
    smallest: jax.Array
    bound: jax.Array
    inner: Any


def with_moving_bound(inner: Optimizer, steps_per_epoch: Any) -> Optimizer:
    """A per-batch ``lower_bound``: a hundredth of the smallest loss, once per epoch.

    Before the first epoch ends there is no bound and no step: the loss is passed.
    """

    def init(params):
        inf = jnp.asarray(jnp.inf)
        return MovingBound(jnp.zeros((), jnp.int32), inf, inf, inner.init(params))

    def update(updates, state, params: Any = None, *, value: Any = None, **extra):
        bound = jnp.where(jnp.isfinite(state.bound), state.bound, value)
        updates, new = inner.update(
            updates, state.inner, params, value=value, lower_bound=bound, **extra
        )
        steps = state.num_steps + 1
        epoch_ends = steps % steps_per_epoch == 0
        bound = jnp.where(epoch_ends, state.smallest / 100, state.bound)
        smallest = jnp.minimum(state.smallest, value)
        return updates, MovingBound(steps, smallest, bound, new)

    return optax.GradientTransformationExtraArgs(init, update)


def with_shrunk_params(inner: Optimizer, weight_decay: Any) -> Optimizer:
    """SaLSA's weight decay: ``(1 - lambda S) w`` before the search, S the stored step.

    The loss and gradient stay those of the params before.
    """

    def update(updates, state, params: Any = None, **extra):
        decay = weight_decay * optax.tree.get(state, "start")
        shift = jax.tree.map(lambda p: -decay * p, params)
        shrunk = optax.apply_updates(params, shift)
        updates, state = inner.update(updates, state, shrunk, **extra)
        return jax.tree.map(jnp.add, updates, shift), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def normalized(norm: int, *, per_tensor: bool, sign: bool = False) -> Any:
    """``g / ||g||_p``, over all params or per tensor; or ``sign(g) ||g||_p``."""

    def size(leaves):
        total = sum(jnp.sum(jnp.abs(leaf) ** norm) for leaf in leaves)
        return total ** (1 / norm)

    @optax.stateless
    def transform(updates, params):
        del params
        if sign:
            length = size(jax.tree.leaves(updates))
            return jax.tree.map(lambda g: jnp.sign(g) * length, updates)
        if per_tensor:
            return jax.tree.map(lambda g: g / size([g]), updates)
        length = size(jax.tree.leaves(updates))
        return jax.tree.map(lambda g: g / length, updates)

    return transform


def clipped(max_norm: float) -> Any:
    """``g min(1, max_norm / (||g|| + 1e-6))``; optax's own has no 1e-6."""

    @optax.stateless
    def transform(updates, params):
        del params
        factor = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda g: factor * g, updates)

    return transform


def with_learning_rate(direction: Any, learning_rate: Any, momentum: Any) -> Optimizer:
    """A direction, a constant step size of ours, heavy-ball momentum."""
    return optax.chain(
        direction,
        optax.scale(-1.0),
        optaxls.scale_by_initial_step(optaxls.constant(learning_rate)),
        optax.trace(momentum),
    )
