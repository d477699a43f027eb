"""SAG and SAGA on linear models: minima of SciPy, penalties, weights, and warnings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls import linear
from tests.linear.problems import data, minimum, objective

SOLVERS = {"sag": linear.sag, "saga": linear.saga}


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def params(fit):
    return np.append(fit.coefficients, fit.intercept)


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize(
    ("solver", "loss"),
    [
        ("sag", "logistic"),
        ("saga", "logistic"),
        ("saga", "huber"),
        pytest.param("saga", "squared", marks=pytest.mark.slow),
        pytest.param("sag", "squared", marks=pytest.mark.slow),
        pytest.param("sag", "huber", marks=pytest.mark.slow),
    ],
)
def test_the_minimum_is_that_of_scipy(solver, loss):
    x, y = data(loss)
    problem = linear.problem(x, y, loss=loss, l2=0.05)
    fit = SOLVERS[solver](problem, tolerance=1e-10)
    wanted = minimum(x, y, loss, l2=0.05)
    assert fit.converged and fit.optimality <= 1e-10
    np.testing.assert_allclose(params(fit), wanted, atol=1e-8)
    value, gradient = objective(params(fit), x, y, loss, l2=0.05)
    np.testing.assert_allclose(fit.objective, value, rtol=1e-12)
    np.testing.assert_allclose(fit.optimality, abs(gradient).max(), atol=1e-12)


def solved(solver="saga", loss="logistic", l2=0.05, l1=0.0, weights=None, **arguments):
    x, y = data(loss)
    problem = linear.problem(x, y, loss=loss, l2=l2, l1=l1, weights=weights)
    return SOLVERS[solver](problem, **{"tolerance": 1e-10} | arguments)


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 8},
        pytest.param({"sampling": "uniform"}, marks=pytest.mark.slow),
        pytest.param({"lipschitz": 20.0}, marks=pytest.mark.slow),
        pytest.param({"solver": "sag", "batch_size": 8}, marks=pytest.mark.slow),
        pytest.param(
            {"sampling": "uniform", "initial_lipschitz": 1e-3}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_blocks_samplings_and_constants_lead_to_the_same_minimum(arguments):
    x, y = data("logistic")
    fit = solved(**arguments)
    np.testing.assert_allclose(params(fit), minimum(x, y, "logistic", 0.05), atol=1e-8)


@pytest.mark.slow
def test_weights_count_as_repeated_rows_and_0_as_none():
    x, y = data("logistic")
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    assert 0 in weights
    wanted = minimum(np.repeat(x, weights, 0), np.repeat(y, weights), "logistic", 0.05)
    np.testing.assert_allclose(params(solved(weights=weights)), wanted, atol=1e-8)


def test_only_the_ratios_of_weights_matter():
    weights = np.linspace(1, 2, 60)
    fits = [solved(weights=factor * weights) for factor in (1, 8)]
    np.testing.assert_array_equal(*map(params, fits))


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
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
def test_features_far_from_0_cost_no_passes():
    """Nothing penalises the intercept, so only the intercept changes."""
    x, y = data("logistic")
    near, far = (
        linear.saga(
            linear.problem(x + shift, y, loss="logistic", l2=0.05), tolerance=1e-8
        )
        for shift in (0.0, 1e3)
    )
    np.testing.assert_allclose(far.coefficients, near.coefficients, atol=1e-6)
    moved = near.intercept - 1e3 * jnp.sum(near.coefficients)
    np.testing.assert_allclose(far.intercept, moved, rtol=1e-6)
    assert far.num_passes <= 1.5 * near.num_passes


@pytest.mark.slow
def test_without_an_intercept_it_is_0():
    x, y = data("squared")
    l2 = 0.05
    problem = linear.problem(x, y, loss="squared", l2=l2, intercept=False)
    fit = linear.saga(problem, tolerance=1e-10)
    gram = x.T @ x / len(y) + l2 * np.eye(x.shape[1])
    wanted = np.linalg.solve(gram, x.T @ y / len(y))
    np.testing.assert_allclose(fit.coefficients, wanted, atol=1e-8)
    assert fit.intercept == 0


def test_a_run_that_is_too_short_says_so():
    with pytest.warns(RuntimeWarning, match="saga has not converged: after 2 passes"):
        fit = solved(max_passes=2)
    assert not fit.converged and fit.num_passes == 2 and fit.optimality > 1e-10


def test_the_key_decides_the_run():
    with pytest.warns(RuntimeWarning):
        first, again, other = (
            solved(max_passes=2, key=jax.random.key(seed)) for seed in (0, 0, 1)
        )
    np.testing.assert_array_equal(params(first), params(again))
    assert (params(first) != params(other)).any()


def test_a_longer_run_begins_like_a_shorter_one_and_nothing_is_compiled_anew():
    from optaxls.linear import finite_sums

    solved()
    before = finite_sums._solved._cache_size()
    fit = solved(max_passes=500, l2=0.3, tolerance=1e-6)
    assert fit.converged and finite_sums._solved._cache_size() == before


@pytest.mark.slow
def test_penalties_can_be_mapped_over():
    x, y = data("squared")

    @jax.jit
    @jax.vmap
    def fits(l2):
        problem = linear.problem(x, y, loss="squared", l2=l2)
        return linear.saga(problem, tolerance=1e-10)

    penalties = jnp.array([0.01, 1.0])
    found = fits(penalties)
    assert found.converged.all() and found.num_passes[0] != found.num_passes[1]
    for place, l2 in enumerate(penalties):
        wanted = minimum(x, y, "squared", float(l2))
        np.testing.assert_allclose(found.coefficients[place], wanted[:-1], atol=1e-8)


@pytest.mark.slow
def test_in_float32_a_tolerance_below_rounding_ends_the_run():
    x, y = (array.astype(np.float32) for array in data("logistic"))
    problem = linear.problem(x, y, loss="logistic", l2=0.05)
    with pytest.warns(RuntimeWarning, match="float32 may be too coarse"):
        fit = linear.saga(problem, tolerance=0.0)
    assert not fit.converged and fit.num_passes < 1000
    assert fit.coefficients.dtype == jnp.float32 and fit.optimality < 3e-6
    np.testing.assert_allclose(params(fit), minimum(x, y, "logistic", 0.05), atol=1e-4)


def test_the_hinge_loss_is_refused():
    problem = linear.problem(*data("logistic"), loss="hinge")
    for solver in SOLVERS.values():
        with pytest.raises(ValueError, match="cannot minimise the hinge loss"):
            solver(problem)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": -1.0}, "tolerance must lie in"),
        ({"max_passes": 0}, "max_passes must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"sampling": "greedy"}, "sampling must be one of 'lipschitz', 'uniform'"),
        ({"lipschitz": 0.0}, "lipschitz must lie in"),
        ({"initial_lipschitz": -1.0}, "initial_lipschitz must lie in"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        solved(**arguments)


def test_a_problem_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="made by linear.problem"):
        linear.sag((np.eye(2), np.ones(2)))
