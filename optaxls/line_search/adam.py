"""Adam's preconditioner under any step-size rule, with one copy of the moments.

The rule sees one direction (usually without momentum, so that it is downhill on the
batch) and the step size that it finds multiplies another (with momentum).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls import _checks, _tree
from optaxls._types import Params
from optaxls.line_search import _value_fn

VARIANTS = ("adam", "amsgrad", "adagrad", "rmsprop")


class Moments(NamedTuple):
    """Steps counted, means of the gradient and of its square, largest second moment.

    float32 or wider. Moments that a variant does not use are ().
    """

    count: jax.Array
    first_moment: Params
    second_moment: Params
    max_second_moment: Params


class PreconditionedState(NamedTuple):
    """The moments, and the state of the step-size rule."""

    moments: Moments
    step_rule: Any


class Directions(NamedTuple):
    """``searched``: what the rule sees; ``momentum``: what Adam would apply."""

    searched: Params
    momentum: Params


def with_momentum(directions: Directions, num_trials: jax.Array) -> Params:
    """Applies the direction with momentum, whatever was searched."""
    del num_trials
    return directions.momentum


def as_searched(directions: Directions, num_trials: jax.Array) -> Params:
    """Applies the tested trial; momentum only where nothing was tested (SaLSA)."""
    tested = num_trials > 0
    return jax.tree.map(lambda s, m: jnp.where(tested, s, m), *directions)


class _Preconditioner(NamedTuple):
    """The numbers that define the moments and the two directions."""

    variant: str
    b1: Any
    b2: Any
    search_b1: Any
    eps: Any
    first_count: int

    def check(self) -> None:
        _checks.require_choice("variant", self.variant, VARIANTS)
        _checks.require("b1", self.b1, "[0, 1)")
        _checks.require("b2", self.b2, "[0, 1)")
        _checks.require("eps", self.eps, "(0, inf)")
        _checks.require_integer("first_count", self.first_count, 0)
        if isinstance(self.search_b1, (int, float)):
            _checks.require_choice("search_b1", self.search_b1, (0, self.b1))

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
        usual = total / jnp.where(weight > 0, weight, 1)
        factor = _tree.tempering(sqnorm, usual)
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
        size = _tree.sqnorm(grad, _tree.scalar_dtype(grad))
        grad = self.tempered(grad, size, old)
        finite = jnp.isfinite(_value_fn.as_scalar(value, size.dtype) + size)
        return grad, _tree.select(finite, self.update(grad, old), old)

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


def scale_by_preconditioned_search(
    step_rule: optax.GradientTransformationExtraArgs,
    *,
    variant: str = "adam",
    b1: float = 0.9,
    b2: float = 0.999,
    search_b1: float = 0.0,
    eps: float = 1e-8,
    applied: Callable[[Directions, jax.Array], Params] = with_momentum,
    first_count: int = 0,
    name: str = "scale_by_preconditioned_search",
) -> optax.GradientTransformationExtraArgs:
    r"""A step-size rule under Adam's preconditioner, momentum applied but not searched.

    :math:`v_k = \beta_2 v_{k-1} + (1-\beta_2) g^2`, :math:`P = 1/(\sqrt{\hat v}
    + \epsilon)`. The rule finds :math:`\eta` along :math:`-P g`, whose slope
    :math:`-\sum_j P_j g_j^2` is always negative, and the update is
    :math:`-\eta P \hat m` with :math:`m_k = \beta_1 m_{k-1} + (1-\beta_1) g`.
    Incoming updates are gradients: no ``optax.scale(-1.)`` before. One longer than ten
    times the root mean square of those before enters as that long.

    Args:
      step_rule: ``scale_by_line_search(...)`` or ``scale_by_initial_step(...)``.
      variant: "adam"; "amsgrad" (largest v so far, bias-corrected); "adagrad" (sum of
        squares) and "rmsprop" (mean), both without bias correction.
      b1: weight of the past in the applied momentum, in [0, 1); 0 applies the searched
        direction, which then costs no first moment.
      b2: weight of the past squares, in [0, 1); unused by "adagrad".
      search_b1: 0, or ``b1`` to search along the momentum direction too.
      eps: > 0, units of the gradient.
      applied: which of the two directions the step size multiplies, given the number
        of trials: ``with_momentum``, or ``as_searched`` as in SaLSA.
      first_count: where the count of steps for the bias correction starts.
      name: the rule that error messages speak of.

    Returns:
      A transformation; ``update`` needs ``value``, ``grad`` and what ``step_rule``
      needs. A loss or gradient that is not finite leaves the moments as they were.

    State:
      ``moments`` (float32 or wider): ``count``, ``first_moment``, ``second_moment``,
      ``max_second_moment``; and the rule's ``step_size``, ``num_trials``, ...

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      That of ``step_rule``; one copy of the params per moment in use.

    Example:
      >>> import jax, jax.numpy as jnp, optax, optaxls
      >>> def loss(w):
      ...     return 0.5 * jnp.sum(jnp.array([1.0, 100.0]) * w**2)
      >>> optimizer = optaxls.scale_by_preconditioned_search(
      ...     optaxls.scale_by_line_search(optaxls.armijo(0.1), optaxls.constant(1.0)),
      ...     b1=0.0, b2=0.9)
      >>> w = jnp.array([1.0, 1.0])
      >>> state = optimizer.init(w)
      >>> value, grad = jax.value_and_grad(loss)(w)
      >>> updates, state = optimizer.update(
      ...     grad, state, w, value=value, grad=grad, value_fn=loss)
      >>> w = optax.apply_updates(w, updates)     # P = 1 / |g| in the first step
      >>> bool(jnp.max(jnp.abs(w)) < 1e-5)
      True

    Reference:
      Vaswani et al., Adaptive Gradient Methods Converge Faster with
      Over-Parameterization, 2020, arXiv:2006.06835, Algorithm 1 and section 5.
    """
    preconditioner = _Preconditioner(variant, b1, b2, search_b1, eps, first_count)
    preconditioner.check()

    def init(params: Params) -> PreconditionedState:
        moments = _tree.fresh(preconditioner.init(params))
        return PreconditionedState(moments, step_rule.init(params))

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        **extra: Any,
    ) -> tuple[Params, PreconditionedState]:
        _value_fn.require_arguments(name, params=params, value=value, grad=grad)
        _value_fn.require_same_leaves(name, updates, params=params, grad=grad)
        updates, moments = preconditioner.advance(updates, value, state.moments)
        directions = preconditioner.directions(updates, moments)
        rule_state: Any
        searched, rule_state = step_rule.update(
            directions.searched,
            state.step_rule,
            params,
            value=value,
            grad=grad,
            **extra,
        )
        if preconditioner.uses_momentum:
            step_size = rule_state.step_size
            chosen = applied(directions, rule_state.num_trials)
            searched = _tree.scale(step_size, chosen, where=step_size > 0)
        return searched, PreconditionedState(moments, rule_state)

    return optax.GradientTransformationExtraArgs(init, update)
