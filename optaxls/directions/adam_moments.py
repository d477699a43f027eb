"""Adam's moments, and the two directions that they give."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.loss import as_scalar
from optaxls._core.robust import factor_at_most_tenfold
from optaxls.directions.pairs import DirectionPair, Directions
from optaxls.parts.types import Params


class MomentsState(NamedTuple):
    """What Adam remembers: the number of steps, and its moments.

    The first moment is the mean of the gradients, the second that of their squares. All
    are float32 or wider. Moments that a variant does not use are ().
    """

    count: jax.Array
    first_moment: Params
    second_moment: Params
    max_second_moment: Params


class _Second(NamedTuple):
    """How a variant sums up the squares of gradients.

    ``weights`` gives the factors of the old sum and of the new square. ``total_weight``
    is the sum of all weights, ``correction`` the divisor that takes out the bias.
    """

    weights: Callable[[Any], tuple[Any, Any]]
    total_weight: Callable[[Any, jax.Array], jax.Array]
    correction: Callable[[Any, jax.Array], Any]
    keeps_largest: bool


def _averaged(debiased: bool, keeps_largest: bool) -> _Second:
    def total_weight(b2: Any, steps: jax.Array) -> jax.Array:
        return 1 - b2**steps

    def correction(b2: Any, steps: jax.Array) -> Any:
        return 1 - b2**steps if debiased else 1.0

    return _Second(lambda b2: (b2, 1 - b2), total_weight, correction, keeps_largest)


_VARIANTS = {
    "adam": _averaged(True, False),
    "amsgrad": _averaged(True, True),
    "adagrad": _Second(
        lambda b2: (1, 1), lambda b2, steps: steps, lambda b2, steps: 1.0, False
    ),
    "rmsprop": _averaged(False, False),
}


class _Numbers(NamedTuple):
    """The arguments of ``adam_moments``, as its inner functions need them."""

    second: _Second
    b1: Any
    b2: Any
    search_b1: Any
    eps: Any
    first_count: int

    @property
    def has_momentum(self) -> bool:
        return not (isinstance(self.b1, (int, float)) and self.b1 == 0)


def _init(numbers: _Numbers, params: Params) -> MomentsState:
    # Made from the leaves: on a mesh the moments lie where the params do.
    zeros = jax.tree.map(trees.zeros_like, trees.wide(params))
    largest = numbers.second.keeps_largest
    state = MomentsState(
        jnp.asarray(numbers.first_count, jnp.int32),
        zeros if numbers.has_momentum else (),
        jax.tree.map(jnp.real, zeros),
        jax.tree.map(jnp.real, zeros) if largest else (),
    )
    return trees.fresh(state)


def _typical_sqnorm(numbers: _Numbers, old: MomentsState, dtype: Any) -> jax.Array:
    """The mean squared length of the gradients so far."""
    steps = (old.count - numbers.first_count).astype(dtype)
    weight = numbers.second.total_weight(numbers.b2, steps)
    leaves = jax.tree.leaves(old.second_moment)
    sums = (jnp.sum(leaf, dtype=dtype) for leaf in leaves)
    return sum(sums, jnp.zeros((), dtype)) / jnp.where(weight > 0, weight, 1)


def _moved(numbers: _Numbers, grad: Params, old: MomentsState) -> MomentsState:
    """The moments with one more gradient."""
    kept, fresh = numbers.second.weights(numbers.b2)

    def second(v, g):
        g = jnp.asarray(g, jnp.promote_types(v.dtype, jnp.result_type(g)))
        return kept * v + fresh * jnp.real(g * jnp.conj(g))

    def first(m, g):
        return numbers.b1 * m + (1 - numbers.b1) * g

    v, m = jax.tree.map(second, old.second_moment, grad), old.first_moment
    largest = old.max_second_moment
    return MomentsState(
        jnp.asarray(optax.safe_increment(old.count)),
        jax.tree.map(first, m, grad) if numbers.has_momentum else (),
        v,
        jax.tree.map(jnp.maximum, largest, v) if numbers.second.keeps_largest else (),
    )


def _directions(numbers: _Numbers, grad: Params, moments: MomentsState) -> Directions:
    """The directions ``-P g`` and ``-P m``, bias-corrected."""
    steps = moments.count.astype(jnp.float32)
    if any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(moments)):
        steps = moments.count.astype(jnp.float64)
    correction = numbers.second.correction(numbers.b2, steps)
    largest = numbers.second.keeps_largest
    v = moments.max_second_moment if largest else moments.second_moment

    def along(mean: Params, mean_correction: Any) -> Params:
        def leaf_direction(d, v, like):
            root = jnp.sqrt(v / correction) + numbers.eps
            return (-(d / mean_correction / root)).astype(like.dtype)

        return jax.tree.map(leaf_direction, mean, v, grad)

    def scaling() -> Params:
        def leaf_scaling(v, like):
            root = jnp.sqrt(v / correction) + numbers.eps
            return (1 / root).astype(jnp.promote_types(v.dtype, jnp.real(like).dtype))

        return jax.tree.map(leaf_scaling, v, grad)

    plain = along(grad, 1.0)
    if not numbers.has_momentum:
        return Directions(plain, plain, scaling)
    momentum = along(moments.first_moment, 1 - numbers.b1**steps)
    if isinstance(numbers.search_b1, (int, float)) and not numbers.search_b1:
        return Directions(plain, momentum, scaling)
    if numbers.search_b1 is numbers.b1 or isinstance(numbers.search_b1, (int, float)):
        return Directions(momentum, momentum, scaling)
    # Injected hyperparameters are arrays, whose value is not known here.
    searched = jax.tree.map(
        lambda p, m: jnp.where(numbers.search_b1 == 0, p, m), plain, momentum
    )
    return Directions(searched, momentum, scaling)


def adam_moments(
    *,
    variant: str = "adam",
    b1: float = 0.9,
    b2: float = 0.999,
    search_b1: float = 0.0,
    eps: float = 1e-8,
    first_count: int = 0,
) -> DirectionPair:
    r"""Makes Adam's two directions: preconditioned gradient, preconditioned momentum.

    :math:`v_k = \beta_2 v_{k-1} + (1-\beta_2) g^2`,
    :math:`m_k = \beta_1 m_{k-1} + (1-\beta_1) g` and
    :math:`P = 1/(\sqrt{\hat v} + \epsilon)` give :math:`-P g` to search along and
    :math:`-P \hat m` to apply.

    Args:
      variant: "adam"; "amsgrad" (largest v so far, bias-corrected); "adagrad" (sum of
        squares) and "rmsprop" (mean), both without bias correction.
      b1: weight of the past gradients, in [0, 1); 0 keeps no first moment, and both
        directions are the same.
      b2: weight of the past squares, in [0, 1); unused by "adagrad".
      search_b1: 0 to search along the gradient, ``b1`` to search along the momentum.
      eps: > 0, units of the gradient.
      first_count: where the count of steps for the bias correction starts.

    Returns:
      A pair for ``two_directions``. Its ``update`` needs ``value``. A loss or gradient
      that is not finite leaves the moments as they were. A gradient more than ten times
      as long as those before (root mean square) is shortened to ten times that.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It evaluates nothing, and keeps one copy of the params per moment in use, float32
      or wider.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> pair = optaxls.adam_moments(b1=0.0, variant="rmsprop", b2=0.75)
      >>> g = jnp.array([3.0, -0.1])
      >>> directions, _ = pair.update(g, pair.init(g), g, value=jnp.array(1.0))
      >>> print(jnp.round(directions.searched, 3))
      [-2.  2.]

    Reference:
      Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1; Vaswani et al. 2020,
      arXiv:2006.06835, section 2.
    """
    checks.require_choice("variant", variant, tuple(_VARIANTS))
    checks.require("b1", b1, "[0, 1)")
    checks.require("b2", b2, "[0, 1)")
    checks.require("eps", eps, "(0, inf)")
    checks.require_integer("first_count", first_count, 0)
    if isinstance(search_b1, (int, float)):
        checks.require_choice("search_b1", search_b1, (0, b1))
    numbers = _Numbers(_VARIANTS[variant], b1, b2, search_b1, eps, first_count)

    def update(
        grads: Params, state: MomentsState, params: Any, *, value: Any, **extra: Any
    ) -> tuple[Directions, MomentsState]:
        del params, extra
        sqnorm = trees.sqnorm(grads, trees.scalar_dtype(grads))
        typical = _typical_sqnorm(numbers, state, sqnorm.dtype)
        factor = factor_at_most_tenfold(sqnorm, typical)
        grads = jax.tree.map(lambda g: (factor * g).astype(g.dtype), grads)
        finite = jnp.isfinite(as_scalar(value, sqnorm.dtype) + sqnorm)
        moments = trees.select(finite, _moved(numbers, grads, state), state)
        return _directions(numbers, grads, moments), moments

    return DirectionPair(lambda params: _init(numbers, params), update)
