"""One training run inside `lax.scan`, for the scripts of the talk."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls


class Run(NamedTuple):
    """What a run left behind.

    Attributes:
        params: to evaluate, after the last step: an average for `auto`.
        loss: `full_loss` of such params before the first step and after every `every`
            steps, `(steps // every + 1,)`.
        metrics: of every step, `(steps,)` each: `value` (the loss of the batch),
            and for our optimizers `step_size`, `num_trials`, `accepted`, ...
    """

    params: Any
    loss: np.ndarray
    metrics: dict[str, np.ndarray]


def scanned(
    optimizer: optax.GradientTransformation,
    loss_fn: Callable[..., jax.Array],
    params: Any,
    batches: Any,
    full_loss: Callable[[Any], jax.Array],
    every: int,
) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
    """The run itself, to be jitted, vmapped or mapped: params, losses, metrics.

    Args as those of `train`. The metrics have leading axes of records and of the steps
    between two of them; what nobody reads is not computed.
    """
    steps = len(jax.tree.leaves(batches)[0])
    if steps % every:
        raise ValueError(f"every must divide the {steps} steps, not be {every}")
    blocks = jax.tree.map(
        lambda x: jnp.asarray(x).reshape(steps // every, every, *x.shape[1:]), batches
    )
    step = optaxls.make_step(loss_fn, optimizer)

    def one(carry, batch):
        result = step(*carry, batch)
        told = {"value": result.value} | result.metrics
        return (result.params, result.opt_state), told

    def block(carry, batches):
        carry, told = jax.lax.scan(one, carry, batches)
        return carry, (full_loss(evaluated(carry)), told)

    def evaluated(carry):
        params, opt_state = carry
        return optaxls.eval_params(opt_state, params)

    carry = (params, optimizer.init(params))
    carry, (losses, told) = jax.lax.scan(block, carry, blocks)
    return evaluated(carry), jnp.concatenate([full_loss(params)[None], losses]), told


def train(
    optimizer: optax.GradientTransformation,
    loss_fn: Callable[..., jax.Array],
    params: Any,
    batches: Any,
    *,
    full_loss: Callable[[Any], jax.Array],
    every: int = 1,
) -> Run:
    """Trains on `batches` in their order; compiles one program.

    Args:
        optimizer: any optax optimizer, ours or not.
        loss_fn: `(params, batch) -> loss`.
        params: to start from.
        batches: a pytree of arrays with a leading axis of steps.
        full_loss: `params -> loss`, recorded on the way.
        every: steps between two records of it; must divide the number of steps.
    """

    @jax.jit
    def run(params, batches):
        return scanned(optimizer, loss_fn, params, batches, full_loss, every)

    end, loss, told = run(params, batches)
    metrics = {name: np.asarray(series).reshape(-1) for name, series in told.items()}
    return Run(end, np.asarray(loss), metrics)
