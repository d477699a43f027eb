"""FISTA and OWL-QN for linear models: the optimizers of those names, to the end."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from optaxls.linear import _driver
from optaxls.linear._losses import LOSSES
from optaxls.linear._optimality import evaluated
from optaxls.linear.fits import Fit
from optaxls.linear.problems import Problem
from optaxls.optimizers.proximal import fista as _fista
from optaxls.optimizers.proximal import owl_qn as _owl_qn
from optaxls.parts.proximal.penalties import l1
from optaxls.training.deterministic.minimize import minimize
from optaxls.training.evaluation import eval_params

# From the weights of the L1 penalty, a prefix of the params.
_OPTIMIZERS = {
    "fista": lambda weight: _fista.fista(l1(weight)),
    "owl_qn": _owl_qn.owl_qn,
}


def _split(params: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """Coefficients and intercept, which is 0 where none is among the params."""
    if len(params) == 1:
        return params[0], jnp.zeros((), params[0].dtype)
    return params[0], params[1]


def _smooth(problem: Problem, params: tuple[jax.Array, ...]) -> jax.Array:
    """The objective without L1."""
    coefficients, intercept = _split(params)
    predictions = problem.features @ coefficients + intercept
    losses = LOSSES[problem.loss].value(predictions, problem.targets)
    squares = jnp.sum(coefficients**2)
    return jnp.mean(problem.weights * losses) + 0.5 * problem.l2 * squares


@functools.partial(jax.jit, static_argnames=("name", "max_passes"))
def _solved(problem: Problem, tolerance: Any, *, name: str, max_passes: int) -> Fit:
    start = (jnp.zeros_like(problem.features[0]),)
    weight: tuple[Any, ...] = (problem.l1,)
    if problem.intercept:
        start, weight = (*start, jnp.zeros((), start[0].dtype)), (*weight, 0.0)
    result = minimize(
        functools.partial(_smooth, problem),
        start,
        _OPTIMIZERS[name](weight),
        max_steps=max_passes,
        tolerance=tolerance,
    )
    # FISTA stops by the residual at the extrapolated params, which are not as sparse.
    sparse = _split(eval_params(result.opt_state, result.params))
    there = evaluated(problem, *sparse)
    good = there.optimality <= jnp.maximum(result.optimality, tolerance)
    found = Fit(
        *_split(result.params),
        result.value,
        result.optimality,
        result.num_evaluations,
        result.converged,
    )
    better = Fit(*sparse, *there, found.num_passes, there.optimality <= tolerance)
    return jax.tree.map(functools.partial(jnp.where, good), better, found)


def _solve(name: str, problem: Problem, tolerance: Any, max_passes: Any) -> Fit:
    """Checks the arguments, runs the compiled program, and warns after it."""
    _driver.require_solvable(name, problem, tolerance, max_passes)
    limit = jnp.asarray(tolerance, problem.features.dtype)
    fit = _solved(problem, limit, name=name, max_passes=int(max_passes))
    return _driver.reported(name, fit, tolerance)


def fista(
    problem: Problem,
    *,
    tolerance: Any = 1e-6,
    max_passes: int = 1000,
    key: jax.Array | None = None,
) -> Fit:
    r"""Minimises by the accelerated proximal gradient method, ``optaxls.fista``.

    It knows no constant of the problem and holds no matrix beside the features. It
    takes the most passes of all solvers here where the features are correlated.

    Args:
      problem: made by ``linear.problem``; every loss but ``hinge``.
      tolerance: >= 0, for the largest entry of the gradient, in loss units over those
        of the coefficients. With L1 it is that of ``w - prox(w - gradient)``.
      max_passes: >= 1, steps. Most take one pass over the features and half of one.
      key: ignored, for nothing is drawn.

    Returns:
      A ``Fit``. Its ``num_passes`` counts evaluations of the loss, with the gradient or
      alone. Outside of ``jit`` a warning tells that it has not converged.

    Raises:
      ValueError: an argument lies outside its range, or the loss has a kink.
      TypeError: ``problem`` is none.

    Cost:
      An evaluation is O(n d), and there are two in most steps. Features far from 0 slow
      it down where an intercept is fitted: subtract their means. Everything is one
      compiled program, for all problems of one shape and one ``max_passes``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls import linear
      >>> x = jax.random.normal(jax.random.key(0), (50, 10))
      >>> y = x[:, 0] - 2 * x[:, 1]
      >>> problem = linear.problem(x, y, loss="squared", l1=0.1)
      >>> fit = linear.fista(problem, tolerance=1e-5)
      >>> print(int(jnp.sum(fit.coefficients != 0)))
      2

    Reference:
      Beck and Teboulle 2009; O'Donoghue and Candes 2012, arXiv:1204.3982.
    """
    del key
    return _solve("fista", problem, tolerance, max_passes)


def owl_qn(
    problem: Problem,
    *,
    tolerance: Any = 1e-6,
    max_passes: int = 1000,
    key: jax.Array | None = None,
) -> Fit:
    r"""Minimises by L-BFGS, orthant by orthant, ``optaxls.owl_qn``.

    Take it where most coefficients are not 0, or there are very many. Without L1 it is
    L-BFGS with a backtracking search.

    Args:
      problem: made by ``linear.problem``; every loss but ``hinge``.
      tolerance: >= 0, for the largest entry of the gradient, in loss units over those
        of the coefficients. With L1 it is that of ``w - prox(w - gradient)``.
      max_passes: >= 1, steps. Most take one pass.
      key: ignored, for nothing is drawn.

    Returns:
      A ``Fit``. Its ``num_passes`` counts evaluations of loss and gradient. Outside of
      ``jit`` a warning tells that it has not converged.

    Raises:
      ValueError: an argument lies outside its range, or the loss has a kink.
      TypeError: ``problem`` is none.

    Cost:
      An evaluation is O(n d), and a step about 40 d besides. Memory is 20 copies of the
      coefficients. Features far from 0 slow it down where an intercept is fitted:
      subtract their means. Everything is one compiled program, for all problems of one
      shape and one ``max_passes``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls import linear
      >>> x = jax.random.normal(jax.random.key(0), (50, 10))
      >>> problem = linear.problem(x, x[:, 0] > 0, loss="logistic", l1=0.1)
      >>> fit = linear.owl_qn(problem, tolerance=1e-5)
      >>> bool(fit.converged), int(jnp.sum(fit.coefficients != 0))
      (True, 1)

    Reference:
      Andrew and Gao 2007; Schmidt 2010, Graphical Model Structure Learning with
      L1-Regularization, section 2.3.
    """
    del key
    return _solve("owl_qn", problem, tolerance, max_passes)
