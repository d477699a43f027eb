"""The steps of SAG and SAGA over the functions of a finite sum."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxls.linear._finite_sums.rows import Rows, gradient_as_given
from optaxls.linear._finite_sums.sampling import Sampling
from optaxls.linear._finite_sums.search import Tested, searched_constant
from optaxls.linear._losses import Loss
from optaxls.linear._optimality import residual, shrunk
from optaxls.linear.problems import Problem


class Table(NamedTuple):
    """What the steps remember.

    Attributes:
      params: ``(p,)``.
      slopes: ``(N, b)``, weighted derivatives of the losses when last visited.
      total: ``(p,)``, the sum over all functions of the gradients these stand for.
      weight: of the functions visited so far, scalar; ``N`` after the first pass.
      constants: the memory of the sampling.
      index: which function to visit next, int32.
      old: its row of ``slopes``. It is read when that row is written last: a read and a
        write in one step would make XLA copy the table in every step.
    """

    params: jax.Array
    slopes: jax.Array
    total: jax.Array
    weight: jax.Array
    constants: Any
    index: jax.Array
    old: jax.Array


class Method(NamedTuple):
    """How SAG and SAGA differ.

    Attributes:
      correction: ``(change, chance) ->`` what is added to the mean of the table, with
        the change of its sum, and ``N`` times the chance of the draw.
      needed: ``(constant of all functions, that of this one over its chance) ->`` the
        constant whose inverse is the step size.
    """

    correction: Callable[[jax.Array, jax.Array], jax.Array | float]
    needed: Callable[[jax.Array, jax.Array], jax.Array]


class Setting(NamedTuple):
    """All that stays the same during a run."""

    problem: Problem
    rows: Rows
    loss: Loss
    sampling: Sampling
    method: Method
    searches: bool


def first_table(setting: Setting, constant: jax.Array) -> Table:
    """The table before the first step: all params and all slopes are 0."""
    rows = setting.rows
    zero = jnp.zeros((), rows.unit.dtype)
    params = jnp.zeros_like(rows.penalised)
    return Table(
        params=params,
        slopes=jnp.zeros_like(rows.targets),
        total=params,
        weight=zero,
        constants=setting.sampling.init(rows.bounds, constant),
        index=jnp.zeros((), jnp.int32),
        old=jnp.zeros_like(rows.targets[0]),
    )


def _constant(
    setting: Setting, table: Table, predictions: jax.Array, slopes: jax.Array, seen: Any
) -> jax.Array:
    """The Lipschitz constant that this visit finds for its function."""
    rows, at = setting.rows, table.index
    known = setting.sampling.known(table.constants, at, seen)
    if not setting.searches:
        return known
    if slopes.shape[0] == 1:
        changes = rows.sqnorms[at] * slopes
    else:
        features = rows.features[at]
        changes = features @ (slopes @ features)
    first = jnp.maximum(known * setting.sampling.shrink, jnp.finfo(known.dtype).tiny)
    tested: Tested = searched_constant(
        setting.loss, predictions, rows.targets[at], rows.weights[at], changes, first
    )
    return jnp.where(tested.passed, tested.constant, known)


def _step_size(
    setting: Setting, memory: Any, at: jax.Array, seen: jax.Array, chance: jax.Array
) -> jax.Array:
    sampling, l2 = setting.sampling, setting.problem.l2
    own = sampling.known(memory, at, jnp.asarray(setting.rows.targets.shape[0]))
    needed = setting.method.needed(
        sampling.overall(memory, seen) + l2, own / chance + l2
    )
    return 1 / jnp.maximum(needed, jnp.finfo(needed.dtype).tiny)


def _stepped(
    setting: Setting,
    order: jax.Array,
    uniforms: jax.Array,
    is_first: jax.Array,
    number: jax.Array,
    table: Table,
) -> Table:
    """One visit: a new row of the table, one step, and the draw of the next visit."""
    rows, at = setting.rows, table.index
    size = rows.targets.shape[0]
    features, targets, weights = rows.features[at], rows.targets[at], rows.weights[at]
    predictions = features @ table.params
    slopes = weights * setting.loss.slope(predictions, targets)
    sampling, seen = setting.sampling, jnp.where(is_first, number, size)
    chance = jnp.where(is_first, 1, sampling.chance(table.constants, at))
    constant = _constant(setting, table, predictions, slopes, seen)
    memory = sampling.commit(table.constants, at, constant)
    seen = jnp.where(is_first, number + 1, size)
    step_size = _step_size(setting, memory, at, seen, chance)

    change = (slopes - table.old) @ features
    total = table.total + change
    weight = jnp.where(is_first, table.weight + jnp.sum(weights), size)
    extra = jnp.where(is_first, 0, setting.method.correction(change / size, chance))
    mean = total / jnp.maximum(weight, jnp.finfo(weight.dtype).tiny)
    direction = mean + extra + setting.problem.l2 * rows.penalised * table.params
    params = table.params - step_size * direction
    params = shrunk(params, step_size * setting.problem.l1 * rows.penalised)

    new = table.slopes.at[at].set(slopes)
    drawn = sampling.draw(memory, uniforms[number])
    unseen = order[jnp.minimum(number + 1, size - 1)]
    index = jnp.where(is_first & (number + 1 < size), unseen, drawn)
    return Table(params, new, total, weight, memory, index, new[index])


def one_pass(setting: Setting, key: jax.Array, table: Table, number: jax.Array):
    """As many visits as there are functions; the first pass visits each of them once.

    Returns the table, and the residual of the gradient that it holds. That gradient is
    added up anew from the table, so the rounding errors of a pass do not stay.
    """
    rows = setting.rows
    size, is_first = rows.targets.shape[0], number == 0
    key = jax.random.fold_in(key, number)
    order = jax.random.permutation(key, size).astype(jnp.int32)
    uniforms = jax.random.uniform(key, (size, 2), rows.unit.dtype)
    table = table._replace(index=jnp.where(is_first, order[0], table.index))
    step = functools.partial(_stepped, setting, order, uniforms, is_first)
    table = jax.lax.fori_loop(0, size, step, table)
    total = table.slopes.reshape(-1) @ rows.features.reshape(-1, rows.penalised.size)
    table = table._replace(total=total)
    gradient = gradient_as_given(rows, total / size)
    held = table.params[: rows.means.shape[0]]
    return table, residual(setting.problem, held, *gradient)
