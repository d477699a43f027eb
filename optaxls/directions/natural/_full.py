"""The natural-gradient direction of a Gaussian with a full covariance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import require_arrays
from optaxls._core.loss import scalar_value_fn
from optaxls.directions.curvature._products import (
    filled,
    hessian_product,
    matrix_of,
    real_leaves,
)
from optaxls.directions.natural._diagonal import Numbers, PosteriorReport
from optaxls.directions.natural._noise import (
    as_key_data,
    require_real,
    standard_normal,
)
from optaxls.parts.paths._gaussian import (
    Gaussian,
    matmul,
    solved,
    tree_of,
    vector_of,
)
from optaxls.parts.types import Params, ValueFn

# Of all matrices that a step holds at once.
MOST_BYTES, NUM_MATRICES = 2**30, 5


class FullPosteriorState(NamedTuple):
    """The posterior but for its mean, the noise to come, and the step-size rule.

    ``factor`` is C, lower triangular and (n, n) for n trained params: ``ess C C^T`` is
    the precision of the posterior. ``key`` and ``num_draws`` give the next noise.
    """

    key: jax.Array
    num_draws: jax.Array
    ess: jax.Array
    weight_decay: jax.Array
    factor: jax.Array
    report: PosteriorReport
    step_rule: Any

    def draws(self, num_samples: int, key: Any = None) -> jax.Array:
        """What samples are off the mean, (num_samples, n)."""
        count, data = self.num_draws, self.key
        if key is not None:
            count, data = jnp.zeros_like(count), as_key_data(key)
        like = jnp.zeros(len(self.factor), self.factor.dtype)
        return offsets(
            self.factor, standard_normal(data, count, like, num_samples), self.ess
        )

    def posterior_noise(
        self, params: Params, num_samples: int, key: Any = None
    ) -> Params:
        """What samples are off the mean: by the state's key, or another ``key``."""
        return jax.vmap(lambda draw: tree_of(params, draw))(
            self.draws(num_samples, key)
        )


def offsets(factor: jax.Array, normal: jax.Array, ess: jax.Array) -> jax.Array:
    """``C^-T z / sqrt(ess)`` for each row z: draws of N(0, (ess C C^T)^-1)."""
    return solved(factor, normal.T, True).T / jnp.sqrt(ess.astype(factor.dtype))


def _mean_log(factor: jax.Array, ess: jax.Array) -> jax.Array:
    logs = 2 * jnp.log(jnp.abs(jnp.diagonal(factor)))
    return jnp.log(ess) + jnp.sum(logs) / max(len(factor), 1)


def init_full(
    name: str, numbers: Numbers, key: Any, step_rule: Any, params: Params
) -> FullPosteriorState:
    """The state before the first step; raises where its matrices are too large."""
    require_arrays(name, params)
    require_real(name, params)
    dtype = trees.scalar_dtype(params)
    size = sum(jnp.size(leaf) for leaf in trees.inexact_leaves(params))
    need = NUM_MATRICES * size**2 * jnp.dtype(dtype).itemsize
    if need > MOST_BYTES:
        raise ValueError(
            f"{name}: a full covariance of {size} params needs {need} bytes for its "
            f"matrices, at most {MOST_BYTES} are allowed. Use optaxls.ivon, whose "
            "covariance is diagonal."
        )
    start = jnp.sqrt(jnp.asarray(numbers.hessian_init + numbers.weight_decay, dtype))
    factor, ess = start * jnp.eye(size, dtype=dtype), jnp.asarray(numbers.ess, dtype)
    state = FullPosteriorState(
        as_key_data(key),
        jnp.zeros((), jnp.int32),
        ess,
        jnp.asarray(numbers.weight_decay, dtype),
        factor,
        PosteriorReport(_mean_log(factor, ess)),
        step_rule.init(Gaussian(params, factor)),
    )
    return trees.fresh(state)


def mean_hessian(value_fn: ValueFn, params: Params, draws: jax.Array) -> jax.Array:
    """The mean Hessian of a loss over samples, by as many products as params each."""

    def at_sample(draw: jax.Array) -> jax.Array:
        at = trees.plus(params, tree_of(params, draw))
        reals = real_leaves(at, draw.dtype)
        product = hessian_product(value_fn, filled(at, reals), draw.dtype)
        return matrix_of(product, reals)

    found = jnp.mean(jax.vmap(at_sample)(draws), 0)
    return (found + found.T) / 2


def natural_direction(
    state: FullPosteriorState, params: Params, grads: Params, hessian: jax.Array
) -> Gaussian:
    """The tangent of the natural-gradient step at the step size 0."""
    factor, decay = state.factor, state.weight_decay.astype(state.factor.dtype)
    mean = vector_of(params, factor.dtype)
    slope = solved(factor, vector_of(grads, factor.dtype) + decay * mean, False)
    identity = jnp.eye(len(factor), dtype=factor.dtype)
    target = solved(factor, hessian + decay * identity, False)
    change = solved(factor, target.T, False) - identity
    phi = jnp.tril((change + change.T) / 2) - jnp.diag(jnp.diagonal(change)) / 2
    along = tree_of(params, -solved(factor, slope, True))
    return Gaussian(along, matmul(factor, phi))


def divergence(
    mean: Params, factor: jax.Array, ess: jax.Array, decay: jax.Array
) -> jax.Array:
    """KL(q || prior) / ess, but for a constant."""
    ess, decay = ess.astype(factor.dtype), decay.astype(factor.dtype)
    inverse = solved(factor, jnp.eye(len(factor), dtype=factor.dtype), False)
    spread = trees.sqnorm(mean, factor.dtype) + jnp.sum(inverse**2) / ess
    logs = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factor))))
    return decay / 2 * spread + logs / ess


class Objective(NamedTuple):
    """The negative ELBO over ess for fixed noise: value, gradient, and any other point.

    The gradient is exact for this noise, also that of the factor.
    """

    value: jax.Array
    grad: Gaussian
    value_fn: ValueFn


def objective(
    state: FullPosteriorState, params: Params, *, value: jax.Array, value_fn: ValueFn,
    grads: Params, sample_grads: Params, num_samples: int,
) -> Objective:  # fmt: skip
    """The function that a search tests, at the noise of this step."""
    factor, ess, decay = state.factor, state.ess, state.weight_decay
    like = jnp.zeros(len(factor), factor.dtype)
    normal = standard_normal(state.key, state.num_draws, like, num_samples)
    loss = scalar_value_fn(value_fn, factor.dtype)

    def at(gaussian: Gaussian) -> jax.Array:
        draws = offsets(gaussian.factor, normal, ess)

        def at_sample(draw: jax.Array) -> jax.Array:
            sample = trees.plus(gaussian.mean, tree_of(gaussian.mean, draw))
            return loss(trees.cast_like(sample, params))

        prior = divergence(gaussian.mean, gaussian.factor, ess, decay)
        return jnp.mean(jax.vmap(at_sample)(draws)) + prior

    def prior_at(factor: jax.Array) -> jax.Array:
        return divergence(params, factor, ess, decay)

    each = jax.vmap(lambda grad: vector_of(grad, factor.dtype))(sample_grads)
    _, pull = jax.vjp(lambda factor: offsets(factor, normal, ess), factor)
    prior, slope = jax.value_and_grad(prior_at)(factor)
    mean = trees.add_scaled(grads, decay, params, where=jnp.array(True))
    return Objective(
        value + prior, Gaussian(mean, pull(each / num_samples)[0] + slope), at
    )


def moved(
    state: FullPosteriorState, updates: Gaussian, numbers: Numbers, step_rule: Any
) -> FullPosteriorState:
    """The state after a step. The noise advances, whether there was one or not."""
    factor = state.factor + updates.factor
    factor = jnp.where(jnp.all(jnp.isfinite(factor)), factor, state.factor)
    new = state._replace(
        num_draws=trees.one_more(state.num_draws),
        ess=jnp.asarray(numbers.ess),
        weight_decay=jnp.asarray(numbers.weight_decay),
        factor=factor,
        report=PosteriorReport(_mean_log(factor, state.ess)),
        step_rule=step_rule,
    )
    return trees.cast_like(new, state)
