"""FISTA and OWL-QN on linear models: minima, penalties, and the counts of passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from optaxls import linear
from tests.linear.problems import data, minimum, objective

SOLVERS = {"fista": linear.fista, "owl_qn": linear.owl_qn}
# Both run the same lines.
ONE_IS_ENOUGH = [
    pytest.param("fista", marks=pytest.mark.slow),
    pytest.param("owl_qn", marks=pytest.mark.long),
]


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def params(fit):
    return np.append(fit.coefficients, fit.intercept)


def solved(solver="owl_qn", loss="logistic", l2=0.05, l1=0.0, weights=None, **given):
    x, y = data(loss)
    problem = linear.problem(x, y, loss=loss, l2=l2, l1=l1, weights=weights)
    return SOLVERS[solver](problem, **{"tolerance": 1e-10} | given)


@pytest.mark.parametrize(
    ("solver", "loss"),
    [
        ("owl_qn", "logistic"),
        pytest.param("fista", "logistic", marks=pytest.mark.slow),
        pytest.param("owl_qn", "huber", marks=pytest.mark.slow),
        pytest.param("fista", "huber", marks=pytest.mark.long),
        pytest.param("owl_qn", "squared", marks=pytest.mark.long),
        pytest.param("fista", "squared", marks=pytest.mark.long),
    ],
)
def test_the_minimum_is_that_of_scipy(solver, loss):
    x, y = data(loss)
    fit = solved(solver, loss)
    assert fit.converged and fit.optimality <= 1e-10
    np.testing.assert_allclose(params(fit), minimum(x, y, loss, l2=0.05), atol=5e-8)
    value, gradient = objective(params(fit), x, y, loss, l2=0.05)
    np.testing.assert_allclose(fit.objective, value, rtol=1e-12)
    np.testing.assert_allclose(fit.optimality, abs(gradient).max(), atol=1e-12)


@pytest.mark.parametrize(
    "solver", ["owl_qn", pytest.param("fista", marks=pytest.mark.slow)]
)
def test_with_l1_the_subgradient_contains_0_and_the_intercept_is_free(solver):
    x, y = data("logistic")
    l1 = 0.1
    fit = solved(solver, l2=0.01, l1=l1)
    value, gradient = objective(params(fit), x, y, "logistic", 0.01, l1)
    w = np.asarray(fit.coefficients)
    zero = w == 0
    assert fit.converged and zero.any() and not zero.all()
    assert (abs(gradient[:-1][zero]) <= l1 + 1e-10).all()
    np.testing.assert_allclose(gradient[:-1][~zero], -l1 * np.sign(w[~zero]), atol=1e-9)
    assert abs(gradient[-1]) <= 1e-10 and abs(fit.intercept) > 0.01
    np.testing.assert_allclose(fit.objective, value, rtol=1e-12)


@pytest.mark.slow
def test_weights_count_as_repeated_rows_and_0_as_none():
    x, y = data("logistic")
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    wanted = minimum(np.repeat(x, weights, 0), np.repeat(y, weights), "logistic", 0.05)
    np.testing.assert_allclose(params(solved(weights=weights)), wanted, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "optimizer"),
    [
        ("owl_qn", optaxls.owl_qn),
        ("fista", lambda weight: optaxls.fista(optaxls.prox.l1(weight))),
    ],
    ids=["owl_qn", "fista"],
)
def test_it_is_the_optimizer_under_minimize_pass_by_pass(solver, optimizer):
    x, y = data("logistic")
    problem = linear.problem(x, y, loss="logistic", l1=0.05, intercept=False)
    fit = SOLVERS[solver](problem, tolerance=1e-8)

    def loss(w):
        return jnp.mean(jnp.logaddexp(0, -jnp.asarray(y) * (jnp.asarray(x) @ w)))

    found = optaxls.minimize(
        loss, jnp.zeros(x.shape[1]), optimizer(0.05), tolerance=1e-8
    )
    assert fit.converged and fit.num_passes == found.num_evaluations
    kept = optaxls.eval_params(found.opt_state, found.params)
    np.testing.assert_allclose(fit.coefficients, kept, atol=1e-10)
    assert fit.intercept == 0


@pytest.mark.slow
def test_a_run_that_is_too_short_says_so():
    with pytest.warns(RuntimeWarning, match="owl_qn has not converged: after"):
        fit = solved(max_passes=2)
    assert not fit.converged and 2 <= fit.num_passes and fit.optimality > 1e-10


@pytest.mark.parametrize("solver", ONE_IS_ENOUGH)
def test_penalties_can_be_mapped_over(solver):
    x, y = data("squared")

    @jax.jit
    @jax.vmap
    def fits(l1):
        problem = linear.problem(x, y, loss="squared", l1=l1)
        return SOLVERS[solver](problem, tolerance=1e-9, max_passes=2000)

    found = fits(jnp.array([0.01, 0.3]))
    assert found.converged.all() and found.num_passes[0] != found.num_passes[1]
    for place, l1 in enumerate((0.01, 0.3)):
        problem = linear.problem(x, y, loss="squared", l1=l1)
        alone = linear.greedy_coordinate(problem, tolerance=1e-10)
        np.testing.assert_allclose(
            found.coefficients[place], alone.coefficients, atol=1e-6
        )


@pytest.mark.parametrize("solver", ONE_IS_ENOUGH)
def test_a_bad_row_that_only_the_program_sees_gives_nan_and_no_convergence(solver):
    x, y = data("logistic")

    @jax.jit
    def fitted(x):
        return SOLVERS[solver](linear.problem(x, y, loss="logistic", l1=0.1))

    fit = fitted(jnp.asarray(x).at[3, 1].set(jnp.nan))
    assert jnp.isnan(fit.optimality) and not fit.converged


@pytest.mark.slow
def test_float32_stays_float32():
    x, y = (array.astype(np.float32) for array in data("logistic"))
    fit = linear.owl_qn(linear.problem(x, y, loss="logistic", l2=0.05), tolerance=1e-5)
    assert fit.converged and fit.coefficients.dtype == jnp.float32
    np.testing.assert_allclose(params(fit), minimum(x, y, "logistic", 0.05), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tolerance": -1.0}, ValueError, "tolerance must lie in"),
        ({"max_passes": 0}, ValueError, "max_passes must be an integer >= 1"),
        ({"max_passes": 2.5}, ValueError, "max_passes must be an integer >= 1"),
    ],
)
def test_arguments_are_checked(change, error, message):
    problem = linear.problem(*data("logistic"), loss="logistic")
    for solver in (*SOLVERS.values(), linear.greedy_coordinate):
        with pytest.raises(error, match=message):
            solver(problem, **change)


def test_the_hinge_loss_and_what_is_no_problem_are_refused():
    problem = linear.problem(*data("logistic"), loss="hinge")
    for solver in (*SOLVERS.values(), linear.greedy_coordinate):
        with pytest.raises(ValueError, match="cannot minimise the hinge loss"):
            solver(problem)
        with pytest.raises(TypeError, match="made by linear.problem"):
            solver((np.eye(2), np.ones(2)))
