"""Natural-gradient directions of a Gaussian whose covariance is diagonal."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arguments, require_arrays
from optaxls.directions.natural._noise import (
    as_key_data,
    require_real,
    standard_normal,
)
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class PosteriorReport(NamedTuple):
    """What ``metrics`` shows: the mean over all params of the log of the precision."""

    mean_log_precision: jax.Array


class DiagonalPosteriorState(NamedTuple):
    """The posterior but for its mean, which are the params, and the noise to come.

    ``precision`` is h + delta: curvature of the loss plus that of the prior. It is
    float32 or wider, and ``ess`` times it is the precision of the posterior.
    ``momentum`` averages gradients. ``key`` and ``num_draws`` give the next noise.
    """

    key: jax.Array
    num_draws: jax.Array
    num_steps: jax.Array
    ess: jax.Array
    weight_decay: jax.Array
    precision: Params
    momentum: Params
    report: PosteriorReport

    def posterior_noise(
        self, params: Params, num_samples: int, key: Any = None
    ) -> Params:
        """What samples are off the mean: by the state's key, or another ``key``."""
        del params
        count, data = self.num_draws, self.key
        if key is not None:
            count, data = jnp.zeros_like(count), as_key_data(key)
        draws = standard_normal(data, count, self.precision, num_samples)
        return _where_trained(
            lambda draw, s: draw * jax.lax.rsqrt(self.ess.astype(s.dtype) * s),
            draws,
            self.precision,
        )


class Numbers(NamedTuple):
    """The numbers of an optimizer, as its inner functions need them."""

    ess: Any
    prior_precision: Any
    hessian_init: Any
    b1: Any
    b2: Any
    clip_radius: Any
    rescaled: bool

    @property
    def weight_decay(self) -> Any:
        """The curvature of the prior, in units of a loss that is a mean."""
        return self.prior_precision / self.ess

    @property
    def has_momentum(self) -> bool:
        return not (isinstance(self.b1, (int, float)) and self.b1 == 0)


# ``(state, params, given) -> estimate of the loss's curvature, like the precision``.
Curvature = Callable[[DiagonalPosteriorState, Params, dict[str, Any]], Params]
# ``(precision, its target, share) -> new precision``, leaf by leaf.
Moved = Callable[[jax.Array, jax.Array, Any], jax.Array]


def _where_trained(function: Callable, tree: Params, *rest: Params) -> Params:
    """Maps the trained leaves, and returns those of ``tree`` elsewhere."""
    return jax.tree.map(
        lambda leaf, *more: function(leaf, *more) if trees.is_inexact(leaf) else leaf,
        tree,
        *rest,
    )


def require_numbers(numbers: Numbers) -> None:
    """Raises ValueError if one of them lies outside its range."""
    for name in ("ess", "prior_precision", "hessian_init"):
        checks.require(name, getattr(numbers, name), "(0, inf)")
    checks.require("b1", numbers.b1, "[0, 1)")
    checks.require("b2", numbers.b2, "[0, 1)")
    checks.require("clip_radius", numbers.clip_radius, "(0, inf]")


def mean_square(leaf: jax.Array, wide: jax.Array) -> jax.Array:
    """The mean over the leading axis of squares, in the dtype of ``wide``."""
    return jnp.mean(jnp.square(leaf.astype(wide.dtype)), 0)


def from_noise(
    state: DiagonalPosteriorState, params: Params, given: dict[str, Any]
) -> Params:
    """Curvature from gradients at samples, by how they follow the noise."""
    del params

    def leaf(s: jax.Array, grads: jax.Array, noises: jax.Array) -> jax.Array:
        product = jnp.mean(noises * grads.astype(s.dtype), 0)
        return state.ess.astype(s.dtype) * s * product

    return _where_trained(leaf, state.precision, given["sample_grads"], given["noise"])


def from_examples(
    state: DiagonalPosteriorState, params: Params, given: dict[str, Any]
) -> Params:
    """Curvature as the mean of squared gradients of single examples."""
    found, grad_fn = given.get("example_grads"), given.get("example_grad_fn")
    if found is None and grad_fn is None:
        require_arguments("vogn", example_grads=None)
    if found is not None:
        return _where_trained(
            lambda s, grads: mean_square(grads, s), state.precision, found
        )
    assert grad_fn is not None

    def squares(offset: Params) -> Params:
        at = trees.cast_like(trees.plus(params, offset), params)
        return _where_trained(
            lambda s, grads: mean_square(grads, s), state.precision, grad_fn(at)
        )

    found = jax.vmap(squares)(given["noise"])
    return _where_trained(lambda s, f: jnp.mean(f, 0), state.precision, found)


def averaged(precision: jax.Array, target: jax.Array, share: Any) -> jax.Array:
    """Moves the precision to its target by a share: positive if the target is."""
    return precision + share * (target - precision)


def kept_positive(precision: jax.Array, target: jax.Array, share: Any) -> jax.Array:
    """Adds the term of second order: a mean of squares, never below half of before."""
    relative = share * (target - precision) / precision
    return precision * (0.5 + 0.5 * jnp.square(1 + relative))


def _init(name: str, numbers: Numbers, key: Any, params: Params) -> Any:
    require_arrays(name, params)
    require_real(name, params)
    dtype = trees.scalar_dtype(params)
    start = jnp.asarray(numbers.hessian_init + numbers.weight_decay, dtype)
    # Made from the leaves, for their sharding.
    zeros = jax.tree.map(trees.zeros_like, trees.wide(params))
    precision = _where_trained(lambda zero: zero + start.astype(zero.dtype), zeros)
    ess = jnp.asarray(numbers.ess, dtype)
    none = jnp.zeros((), jnp.int32)
    state = DiagonalPosteriorState(
        as_key_data(key),
        none,
        none,
        ess,
        jnp.asarray(numbers.weight_decay, dtype),
        precision,
        zeros if numbers.has_momentum else (),
        PosteriorReport(_mean_log(precision, ess)),
    )
    return trees.fresh(state)


def _mean_log(precision: Params, ess: jax.Array) -> jax.Array:
    leaves = trees.inexact_leaves(precision)
    total = sum((jnp.sum(jnp.log(s), dtype=ess.dtype) for s in leaves), 0 * ess)
    return jnp.log(ess) + total / max(sum(leaf.size for leaf in leaves), 1)


def _finite(*tree: Any) -> jax.Array:
    found = [jnp.all(jnp.isfinite(leaf)) for leaf in trees.inexact_leaves(tree)]
    return functools.reduce(operator.and_, found, jnp.array(True))


def _along(numbers: Numbers, mean: Params, precision: Params, params: Params) -> Params:
    """Minus the natural gradient of the mean, with the prior's part, like params."""
    decay, radius = numbers.weight_decay, numbers.clip_radius

    def leaf(w: jax.Array, g: jax.Array, s: jax.Array) -> jax.Array:
        found = (g + decay * w.astype(s.dtype)) / s
        if not (isinstance(radius, float) and radius == float("inf")):
            found = jnp.clip(found, -radius, radius)
        if numbers.rescaled:
            found = (numbers.hessian_init + decay) * found
        return (-found).astype(w.dtype)

    params = jax.tree.map(jnp.asarray, params)
    found = _where_trained(leaf, params, mean, precision)
    return jax.tree.map(
        lambda w, d: d if trees.is_inexact(w) else jnp.zeros_like(w), params, found
    )


def diagonal_pair(
    name: str, numbers: Numbers, key: Any, curvature: Curvature, moved: Moved
) -> DirectionPair:
    """Directions by the new precision: without momentum, and with it.

    Besides the arguments of ``update`` it needs ``loss_grads``, without the prior,
    ``sample_grads``, the same at each sample, and ``noise``. The noise advances at
    every call, after a batch that is not finite too: the noise may be the reason.
    """
    b1, b2 = numbers.b1, numbers.b2

    def update(
        updates: Params, state: Any, params: Any = None, **given: Any
    ) -> tuple[Directions, DiagonalPosteriorState]:
        del updates
        grads = trees.wide(given["loss_grads"], state.ess.dtype)
        grads = trees.cast_like(grads, state.precision)
        found, decay = curvature(state, params, given), numbers.weight_decay
        precision = _where_trained(
            lambda s, h: moved(s, h + decay, 1 - b2), state.precision, found
        )
        steps, mean, momentum = trees.one_more(state.num_steps), grads, ()
        if numbers.has_momentum:
            momentum = _where_trained(
                lambda m, g: b1 * m + (1 - b1) * g, state.momentum, grads
            )
            debias = 1 - b1 ** steps.astype(state.ess.dtype)
            mean = _where_trained(lambda m: m / debias.astype(m.dtype), momentum)
        finite = _finite(grads, found, precision, given["value"])
        new = state._replace(
            num_steps=steps, precision=precision, momentum=momentum,
            ess=jnp.asarray(numbers.ess), weight_decay=jnp.asarray(decay),
            report=PosteriorReport(_mean_log(precision, state.ess)),
        )  # fmt: skip
        new = trees.select(finite, new, state)
        new = new._replace(num_draws=trees.one_more(state.num_draws))

        def along(gradient: Params) -> Params:
            direction = _along(numbers, gradient, precision, params)
            return trees.zero_unless(finite, direction)

        searched = along(grads)
        applied = along(mean) if numbers.has_momentum else searched
        return Directions(searched, applied), new

    return DirectionPair(functools.partial(_init, name, numbers, key), update)
