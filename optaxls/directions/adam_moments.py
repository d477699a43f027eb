"""Adam's moments, and the directions that they give."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.loss import as_scalar
from optaxls._core.robust import factor_at_most_tenfold
from optaxls.parts.types import Params
from optaxls.transforms.two_directions import Directions

VARIANTS = ("adam", "amsgrad", "adagrad", "rmsprop")


class Moments(NamedTuple):
    """Steps counted, means of the gradient and of its square, largest second moment.

    float32 or wider. Moments that a variant does not use are ().
    """

    count: jax.Array
    first_moment: Params
    second_moment: Params
    max_second_moment: Params


class Preconditioner(NamedTuple):
    """The numbers that define the moments and the two directions."""

    variant: str
    b1: Any
    b2: Any
    search_b1: Any
    eps: Any
    first_count: int

    def check(self) -> None:
        checks.require_choice("variant", self.variant, VARIANTS)
        checks.require("b1", self.b1, "[0, 1)")
        checks.require("b2", self.b2, "[0, 1)")
        checks.require("eps", self.eps, "(0, inf)")
        checks.require_integer("first_count", self.first_count, 0)
        if isinstance(self.search_b1, (int, float)):
            checks.require_choice("search_b1", self.search_b1, (0, self.b1))

    @property
    def uses_momentum(self) -> bool:
        return not (isinstance(self.b1, (int, float)) and self.b1 == 0)

    def init(self, params: Params) -> Moments:
        def wide_zeros(leaf):
            kind = jnp.result_type(leaf)
            return jnp.zeros(jnp.shape(leaf), jnp.promote_types(kind, jnp.float32))

        zeros = jax.tree.map(wide_zeros, params)
        return Moments(
            jnp.asarray(self.first_count, jnp.int32),
            zeros if self.uses_momentum else (),
            jax.tree.map(jnp.real, zeros),
            jax.tree.map(jnp.real, zeros) if self.variant == "amsgrad" else (),
        )

    def tempered(self, grad: Params, sqnorm: jax.Array, old: Moments) -> Params:
        """At most ten times as long as the gradients so far are in the square mean.

        A batch whose loss exploded would else shorten all coordinates' steps for
        1 / (1 - b2) steps and more.
        """
        seen = (old.count - self.first_count).astype(sqnorm.dtype)
        weight = seen if self.variant == "adagrad" else 1 - self.b2**seen
        leaves = jax.tree.leaves(old.second_moment)
        total = sum(
            (jnp.sum(leaf, dtype=sqnorm.dtype) for leaf in leaves),
            jnp.zeros_like(sqnorm),
        )
        typical = total / jnp.where(weight > 0, weight, 1)
        factor = factor_at_most_tenfold(sqnorm, typical)
        return jax.tree.map(lambda g: (factor * g).astype(g.dtype), grad)

    def update(self, grad: Params, old: Moments) -> Moments:
        averaged = self.variant != "adagrad"
        kept, fresh = (self.b2, 1 - self.b2) if averaged else (1, 1)

        def second(v, g):
            g = jnp.asarray(g, jnp.promote_types(v.dtype, jnp.result_type(g)))
            return kept * v + fresh * jnp.real(g * jnp.conj(g))

        def first(m, g):
            return self.b1 * m + (1 - self.b1) * g

        v = jax.tree.map(second, old.second_moment, grad)
        v_max = old.max_second_moment
        m = old.first_moment
        return Moments(
            jnp.asarray(optax.safe_increment(old.count)),
            jax.tree.map(first, m, grad) if self.uses_momentum else (),
            v,
            jax.tree.map(jnp.maximum, v_max, v) if self.variant == "amsgrad" else (),
        )

    def advance(self, grad: Params, value: Any, old: Moments) -> tuple[Params, Moments]:
        """The tempered gradient and the next moments, the old ones after a NaN."""
        size = trees.sqnorm(grad, trees.scalar_dtype(grad))
        grad = self.tempered(grad, size, old)
        finite = jnp.isfinite(as_scalar(value, size.dtype) + size)
        return grad, trees.select(finite, self.update(grad, old), old)

    def directions(self, grad: Params, moments: Moments) -> Directions:
        steps = moments.count.astype(jnp.float32)
        if any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(moments)):
            steps = moments.count.astype(jnp.float64)
        debiased = self.variant in ("adam", "amsgrad")
        correction = 1 - self.b2**steps if debiased else 1.0
        amsgrad = self.variant == "amsgrad"
        v = moments.max_second_moment if amsgrad else moments.second_moment

        def along(mean: Params, mean_correction: Any) -> Params:
            def leaf_direction(d, v, like):
                scaled = d / mean_correction / (jnp.sqrt(v / correction) + self.eps)
                return (-scaled).astype(like.dtype)

            return jax.tree.map(leaf_direction, mean, v, grad)

        plain = along(grad, 1.0)
        if not self.uses_momentum:
            return Directions(plain, plain)
        momentum = along(moments.first_moment, 1 - self.b1**steps)
        if isinstance(self.search_b1, (int, float)):
            return Directions(momentum if self.search_b1 else plain, momentum)
        # Injected hyperparameters are arrays, whose value is not known here.
        searched = jax.tree.map(
            lambda p, m: jnp.where(self.search_b1 == 0, p, m), plain, momentum
        )
        return Directions(searched, momentum)
