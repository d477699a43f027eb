"""Directions along few coordinates that keep the sum of the params, within bounds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arguments
from optaxls.directions.coordinates import _pair_rules, _places
from optaxls.directions.curvature._products import hessian_product
from optaxls.parts.paths._bounds import nudged
from optaxls.parts.proximal._leaves import require_numbers
from optaxls.parts.proximal.sets import box
from optaxls.parts.types import Params

_NAME = "scale_by_greedy_pair"


class _Report(NamedTuple):
    """What ``metrics`` shows.

    ``gap`` is the largest less the smallest entry of the gradient among those that can
    go down and up: 0 at a minimum, units of the gradient. ``num_moved`` is int32.
    """

    gap: jax.Array
    num_moved: jax.Array


class PairState(NamedTuple):
    """``report``: how far the params are from a minimum, how many coordinates move."""

    report: _Report


def _require_rule(rule: str, smoothness: Any) -> None:
    checks.require_choice("rule", rule, ("gs1", "second_order"))
    if rule == "second_order" and smoothness is None:
        raise ValueError('smoothness must be given for rule="second_order", got None')
    require_numbers("smoothness", smoothness, "(0, inf)")


def scale_by_greedy_pair(
    lower: Any = -jnp.inf,
    upper: Any = jnp.inf,
    *,
    rule: str = "gs1",
    smoothness: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Moves two coordinates, or few, such that the sum of the params stays the same.

    Params lie within bounds, :math:`l \le w \le u`, as in the dual of a support vector
    machine. The steepest pair is :math:`i = \arg\max g` among the coordinates that can
    go down, and :math:`j = \arg\min g` among those that can go up. Its curvature
    :math:`L = H_{ii} + H_{jj} - 2 H_{ij}` is exact, with the Hessian H of the loss.

    - "gs1": :math:`\arg\min_d \langle g, d\rangle + \frac{L}{8}\|d\|_1^2` over
      :math:`\sum_j d_j = 0` and the bounds. It is the minimum along the pair, unless
      that lies beyond a bound. Then further coordinates move too. The result is cut to
      the minimum along it.
    - "second_order": of all pairs that hold i or j, the one along which the quadratic
      model falls furthest within the bounds. It needs about half as many steps on
      support vector machines.

    Args:
      lower: l, units of the params; a number, an array that broadcasts against the
        leaves, or a prefix of the tree of params. ``-inf`` is no bound.
      upper: u >= l, likewise.
      ``rule``: "gs1" or "second_order".
      smoothness: the diagonal of the Hessian, > 0, for "second_order" only; a number,
        an array, or a prefix of the tree of params.

    Returns:
      A transformation of gradients: ``optax.scale(-1.0)`` comes behind it, and then
      ``scale_by_initial_step(constant(1.0))`` for a quadratic, else a search that
      begins with ``constant(1.0)`` and gets shorter. ``update`` needs ``params`` and
      ``value_fn``, or ``curvature_value_fn`` in its place. Params must lie within the
      bounds.

    State:
      ``report``: ``gap``, the violation of optimality, and ``num_moved``, which
      ``metrics`` shows.

    Raises:
      ValueError: an argument lies outside its range, or is missing for ``rule``.
      TypeError: an argument of ``update`` is missing, or params are complex.

    Cost:
      Two products with the Hessian, each about two gradients. "gs1" sorts the gradient
      twice, O(n log n); "second_order" passes over it. Every device of a mesh gathers
      the gradient and the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> targets = jnp.array([1.0, 0.0, -3.0])
      >>> optimizer = optax.chain(
      ...     optaxls.scale_by_greedy_pair(0.0, 1.0), optax.scale(-1.0),
      ...     optaxls.scale_by_initial_step(optaxls.constant(1.0)))
      >>> step = optaxls.make_step(
      ...     lambda w: 0.5 * jnp.sum((w - targets)**2), optimizer)
      >>> w, state = jnp.array([0.0, 0.5, 0.5]), None
      >>> state = optimizer.init(w)
      >>> for _ in range(3):
      ...     w, state, *_ = step(w, state)
      >>> print(w, optaxls.metrics(state)["gap"])
      [1. 0. 0.] 0.0

    Reference:
      Ramesh, Mishkin, Schmidt, Zhou, Lavington, She 2023, arXiv:2307.01169, sections 3
      and 4; Fan, Chen, Lin 2005, for "second_order", which looks at one side.
    """
    _require_rule(rule, smoothness)
    within = box(lower, upper).prox

    def init(params: Params) -> PairState:
        none = jnp.zeros((), jnp.int32)
        return PairState(_Report(jnp.zeros((), trees.scalar_dtype(params)), none))

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value_fn: Any = None,
        curvature_value_fn: Any = None,
        **extra: Any,
    ) -> tuple[Params, PairState]:
        del extra
        loss = value_fn if curvature_value_fn is None else curvature_value_fn
        require_arguments(_NAME, params=params, value_fn=loss)
        dtype = trees.scalar_dtype(params)
        grad, at = (_places.flat(_NAME, tree, dtype) for tree in (updates, params))
        low, high = (
            _places.spread(_NAME, bound, params, dtype) for bound in (lower, upper)
        )
        rooms = _pair_rules.rooms_of(grad, at, low, high)
        product = hessian_product(loss, params, dtype)

        def times(vector: jax.Array) -> jax.Array:
            return _places.joined(product(_places.split(params, vector)), dtype)

        if rule == "gs1":
            found = _pair_rules.by_gs1(rooms, times)
        else:
            diagonal = _places.spread(_NAME, smoothness, params, dtype)
            found = _pair_rules.by_gain(rooms, times, diagonal)
        # A gradient that is not finite is passed on, for the search to see it.
        found = jnp.where(jnp.all(jnp.isfinite(grad)), found, -grad)
        report = _Report(rooms.gap, jnp.sum(found != 0, dtype=jnp.int32))
        moved = nudged(lambda at: within(at, 1.0), params, _places.like(params, found))
        return trees.reverse(moved), trees.cast_like(PairState(report), state)

    return optax.GradientTransformationExtraArgs(init, update)
