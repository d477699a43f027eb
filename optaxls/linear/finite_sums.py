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
    table, num_passes = _driver.repeated(
        advance, table, begin.optimality, tolerance, max_passes
    )
    coefficients, intercept = as_given(rows, table.params)
    end = evaluated(problem, coefficients, intercept)
    converged = end.optimality <= tolerance
    return Fit(coefficients, intercept, *end, num_passes, converged)


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
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be made by linear.problem, got {problem!r}")
    if not LOSSES[problem.loss].curvature < float("inf"):
        raise ValueError(
            f"{name} cannot minimise the {problem.loss} loss: its gradient jumps at the "
            "kink, so no step size is short enough. Use loss='logistic'"
        )
    checks.require("tolerance", tolerance, "[0, inf)")
    checks.require_integer("max_passes", max_passes, 1)
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
