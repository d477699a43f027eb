"""A diagonal Gaussian posterior as an optax transformation."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import (
    hold_integers,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.loss import as_scalar, scalar_value_fn
from optaxls.directions.natural._diagonal import DiagonalPosteriorState
from optaxls.directions.natural._noise import num_samples_of
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.types import Params, ValueFn
from optaxls.transforms.two_directions import two_directions


def _objective(
    posterior: DiagonalPosteriorState, params: Params, value_fn: Any, noise: Params
) -> ValueFn:
    """``mean -> `` mean loss at the samples of this step, and the prior's part."""
    loss = scalar_value_fn(value_fn, posterior.ess.dtype)

    def at(mean: Params) -> jax.Array:
        def at_sample(offset: Params) -> jax.Array:
            return loss(trees.cast_like(trees.plus(mean, offset), params))

        decay = posterior.weight_decay
        losses = jax.vmap(at_sample)(noise)
        return jnp.mean(losses) + decay / 2 * trees.sqnorm(mean, losses.dtype)

    return at


def diagonal_posterior(
    name: str,
    pair: DirectionPair,
    step_rule: optax.GradientTransformationExtraArgs,
    needs: tuple[str, ...],
) -> optax.GradientTransformationExtraArgs:
    """Adds the prior to loss and gradient, and finds the size of the mean's step.

    ``needs`` are the update arguments besides ``params``. With ``value_fn`` among them
    ``step_rule`` gets the loss at the samples of this step, the same in each trial.
    """
    inner = two_directions(pair, step_rule, name=name)

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Any = None,
        sample_grads: Any = None,
        **extra: Any,
    ) -> tuple[Params, Any]:
        del grad
        given: dict[str, Any] = {"params": params, "value": value, "value_fn": value_fn}
        require_arguments(name, **{key: given[key] for key in ("params", *needs)})
        updates = hold_integers(updates, params)
        require_same_leaves(name, updates, params=params)
        posterior = state.pair
        noise = posterior.posterior_noise(params, num_samples_of(sample_grads))
        if sample_grads is None:
            sample_grads = jax.tree.map(lambda leaf: leaf[None], updates)
        decay, dtype = posterior.weight_decay, posterior.ess.dtype
        value = as_scalar(0.0 if value is None else value, dtype)
        grads = trees.add_scaled(updates, decay, params, where=jnp.array(True))
        if "value_fn" in needs:
            value_fn = _objective(posterior, params, value_fn, noise)
        return inner.update(
            grads,
            state,
            params,
            value=value + decay / 2 * trees.sqnorm(params, value.dtype),
            grad=grads,
            value_fn=value_fn,
            loss_grads=updates,
            sample_grads=sample_grads,
            noise=noise,
            **extra,
        )

    return optax.GradientTransformationExtraArgs(inner.init, update)
