"""SAG and SAGA for linear models: n scalars instead of n gradients."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from optaxls._core import checks
from optaxls.linear import _driver
from optaxls.linear._finite_sums import sampling as samplings
from optaxls.linear._finite_sums import steps
from optaxls.linear._finite_sums.rows import as_given, rows_of
from optaxls.linear._losses import LOSSES
from optaxls.linear._optimality import evaluated
from optaxls.linear.fits import Fit
from optaxls.linear.problems import Problem

_METHODS = {
    # The mean of the table, with a step of 1 / L.
    "sag": steps.Method(
        correction=lambda change, chance: jnp.zeros_like(change),
        needed=lambda overall, own: overall,
    ),
    # An estimate without bias, with a step of 1 / (3 L). A function that is rarely
    # drawn counts for more where it is, so that its own constant limits the step.
    "saga": steps.Method(
        correction=lambda change, chance: change * (1 / chance - 1),
        needed=lambda overall, own: 3 * jnp.maximum(overall, own),
    ),
}


@functools.partial(
    jax.jit, static_argnames=("name", "batch_size", "sampling", "searches")
)
def _solved(
    problem: Problem,
    key: jax.Array,
    tolerance: jax.Array,
    max_passes: jax.Array,
    constant: jax.Array | None,
    *,
    name: str,
    batch_size: int,
    sampling: str,
    searches: bool,
) -> Fit:
    key, cut = jax.random.split(key)
    rows = rows_of(problem, batch_size, cut)
    number = rows.targets.shape[0]
    chosen = {
        "lipschitz": lambda: samplings.by_constants(number, problem.l2),
        "uniform": lambda: samplings.uniform(number),
    }[sampling]()
    setting = steps.Setting(
        problem, rows, LOSSES[problem.loss], chosen, _METHODS[name], searches
    )
    if constant is None:
        constant = jnp.mean(rows.bounds) / batch_size
    constant = jnp.maximum(constant, jnp.finfo(rows.unit.dtype).tiny)

    def advance(table: steps.Table, num_passes: jax.Array):
        table, held = steps.one_pass(setting, key, table, num_passes)

        # The table is never quite up to date, so its word alone is not enough. It is a
        # loop of at most one round: under vmap a branch would be taken at every pass.
        def measure(carry: Any) -> Any:
            return evaluated(problem, *as_given(rows, table.params)).optimality, False

        start = held, held <= tolerance
        return table, jax.lax.while_loop(lambda carry: carry[1], measure, start)[0]

    table = steps.first_table(setting, constant)
    begin = evaluated(problem, *as_given(rows, table.params))
    start = _driver.begun(table, begin.optimality)
    progress = _driver.repeated(advance, start, tolerance, max_passes)
    coefficients, intercept = as_given(rows, progress.state.params)
    end = evaluated(problem, coefficients, intercept)
    converged = end.optimality <= tolerance
    return Fit(coefficients, intercept, *end, progress.num_passes, converged)


def _solve(
    name: str,
    problem: Problem,
    tolerance: Any,
    max_passes: Any,
    key: Any,
    batch_size: int,
    sampling: str,
    lipschitz: Any,
    initial_lipschitz: Any,
) -> Fit:
    """Checks the arguments, runs the compiled program, and warns after it."""
    _driver.require_solvable(name, problem, tolerance, max_passes)
    checks.require_integer("batch_size", batch_size, 1)
    checks.require_choice("sampling", sampling, ("lipschitz", "uniform"))
    for argument, value in {
        "lipschitz": lipschitz,
        "initial_lipschitz": initial_lipschitz,
    }.items():
        if value is not None:
            checks.require(argument, value, "(0, inf)")
    dtype = problem.features.dtype
    given = initial_lipschitz if lipschitz is None else lipschitz
    fit = _solved(
        problem,
        jax.random.key(0) if key is None else key,
        jnp.asarray(tolerance, dtype),
        jnp.asarray(max_passes, jnp.int32),
        None if given is None else jnp.asarray(given, dtype),
        name=name,
        batch_size=min(batch_size, problem.features.shape[0]),
        sampling=sampling,
        searches=lipschitz is None,
    )
    return _driver.reported(name, fit, tolerance)


def sag(
    problem: Problem,
    *,
    tolerance: Any = 1e-6,
    max_passes: Any = 1000,
    key: jax.Array | None = None,
    batch_size: int = 1,
    sampling: str = "lipschitz",
    lipschitz: float | None = None,
    initial_lipschitz: float | None = None,
) -> Fit:
    r"""Minimises by the stochastic average gradient, with a step size that is searched.

    A table holds the derivative :math:`\phi'_i` of each loss at its last visit. A step
    visits function :math:`i`, replaces its entry and follows the mean over the
    :math:`m` visited: :math:`w \leftarrow w - \frac{1}{L + \lambda_2} \big(\frac{1}{m}
    \sum_j \phi'_j x_j + \lambda_2 w\big)`. The first pass visits each function once. A
    later visit is a draw. Each visit halves its function's constant :math:`L_i`. It
    doubles it again while :math:`f_i(w - g_i / L_i) > f_i(w) - \|g_i\|^2 / (2 L_i)`.
    The step has :math:`1/L = \frac12 (1/\max_i L_i + 1/\mathrm{mean}_i L_i)`. L1
    follows every step as a proximal operator. For that ``saga`` has a proof, and this
    has none.

    Args:
      problem: made by ``linear.problem``; every loss but ``hinge``.
      tolerance: >= 0, for the largest entry of the gradient, in loss units over those
        of the coefficients. With L1 it is that of ``w - prox(w - gradient)``.
      max_passes: >= 1, passes over the examples.
      key: decides the draws; None is ``jax.random.key(0)``.
      batch_size: >= 1, examples in one function of the sum. A pass in blocks of 64 is
        several times as fast. Ill-conditioned problems then need more passes.
      sampling: "lipschitz" draws in proportion to the constants, but half of the time
        all functions alike. "uniform" always does that, with one constant for all.
      lipschitz: > 0, an upper bound of the constants, kept instead of a search.
      initial_lipschitz: > 0, where the search begins; by default a bound of the mean.

    Returns:
      A ``Fit``. Outside of ``jit`` a warning tells that it has not converged, as after
      ``max_passes`` passes. It also ends where 100 passes in a row do not lower the
      residual: then the tolerance is below what the rounding of the dtype allows.

    Raises:
      ValueError: an argument lies outside its range, or the loss has a kink.
      TypeError: ``problem`` is none.

    Cost:
      A pass is ``n / batch_size`` steps of O(``batch_size`` d), and one product of the
      features with ``n`` numbers. Each draw is O(log n). A trial is O(1) for one
      example, and touches no feature. The residual is measured on all examples once
      the table's gradient is below the tolerance. Memory is a copy of the features, if
      there is an intercept or a block, and a few numbers for each example. Steps are
      dense: with sparse features scikit-learn, which updates nonzero coordinates only,
      is faster. Everything is one compiled program, for all problems of one shape.

    Example:
      >>> import numpy as np
      >>> from sklearn.datasets import load_breast_cancer
      >>> from optaxls import linear
      >>> x, y = load_breast_cancer(return_X_y=True)
      >>> x = (x - x.mean(0)) / x.std(0)
      >>> problem = linear.problem(x, y, loss="logistic", l2=1 / len(y))
      >>> fit = linear.sag(problem, tolerance=1e-4)
      >>> bool(fit.converged), bool(fit.num_passes < 40)
      (True, True)
      >>> right = (x @ np.asarray(fit.coefficients) + fit.intercept > 0) == y
      >>> bool(np.mean(right) > 0.98)
      True

    Reference:
      Schmidt, Le Roux, Bach, Minimizing Finite Sums with the Stochastic Average
      Gradient, 2017, arXiv:1309.2388, sections 4.4 to 4.6. There the first pass draws
      unvisited functions by chance, here it is a permutation. Closed-form bounds of the
      constants limit the search.
    """
    return _solve(
        "sag",
        problem,
        tolerance,
        max_passes,
        key,
        batch_size,
        sampling,
        lipschitz,
        initial_lipschitz,
    )


def saga(
    problem: Problem,
    *,
    tolerance: Any = 1e-6,
    max_passes: Any = 1000,
    key: jax.Array | None = None,
    batch_size: int = 1,
    sampling: str = "lipschitz",
    lipschitz: float | None = None,
    initial_lipschitz: float | None = None,
) -> Fit:
    r"""Minimises by SAGA, with a step size that is searched.

    It is ``sag`` but for the direction, whose mean over the draws is the gradient:
    :math:`\frac{1}{n p_i} (\phi'_i - \phi_i^{\text{old}}) x_i + \frac1n \sum_j
    \phi_j^{\text{old}} x_j + \lambda_2 w` with the chance :math:`p_i` of the draw. The
    step is a third as long, and no longer than :math:`n p_i / (3 L_i)`. Take it where
    there are many more examples than the condition number.

    Args:
      problem: made by ``linear.problem``; every loss but ``hinge``.
      tolerance: >= 0, for the largest entry of the gradient, in loss units over those
        of the coefficients. With L1 it is that of ``w - prox(w - gradient)``.
      max_passes: >= 1, passes over the examples.
      key: decides the draws; None is ``jax.random.key(0)``.
      batch_size: >= 1, examples in one function of the sum. A pass in blocks of 64 is
        several times as fast. Ill-conditioned problems then need more passes.
      sampling: "lipschitz" draws in proportion to the constants, but half of the time
        all functions alike. "uniform" always does that, with one constant for all.
      lipschitz: > 0, an upper bound of the constants, kept instead of a search.
      initial_lipschitz: > 0, where the search begins; by default a bound of the mean.

    Returns:
      A ``Fit``. Outside of ``jit`` a warning tells that it has not converged, as after
      ``max_passes`` passes. It also ends where 100 passes in a row do not lower the
      residual: then the tolerance is below what the rounding of the dtype allows.

    Raises:
      ValueError: an argument lies outside its range, or the loss has a kink.
      TypeError: ``problem`` is none.

    Cost:
      A pass is ``n / batch_size`` steps of O(``batch_size`` d), and one product of the
      features with ``n`` numbers. Each draw is O(log n). A trial is O(1) for one
      example, and touches no feature. The residual is measured on all examples once
      the table's gradient is below the tolerance. Memory is a copy of the features, if
      there is an intercept or a block, and a few numbers for each example. Steps are
      dense: with sparse features scikit-learn, which updates nonzero coordinates only,
      is faster. Everything is one compiled program, for all problems of one shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls import linear
      >>> x = jax.random.normal(jax.random.key(0), (50, 10))
      >>> y = x[:, 0] - 2 * x[:, 1]
      >>> problem = linear.problem(x, y, loss="huber", l1=0.1)
      >>> fit = linear.saga(problem, tolerance=1e-5)
      >>> print(int(jnp.sum(fit.coefficients != 0)))
      2

    Reference:
      Defazio, Bach, Lacoste-Julien, SAGA, 2014, arXiv:1407.0202, equation 1. Draws in
      proportion to the constants are those of Schmidt et al., arXiv:1504.04406.
    """
    return _solve(
        "saga",
        problem,
        tolerance,
        max_passes,
        key,
        batch_size,
        sampling,
        lipschitz,
        initial_lipschitz,
    )
