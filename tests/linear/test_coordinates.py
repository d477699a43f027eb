"""Greedy coordinate descent: minima, supports, working sets, and its inner steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Lasso, LogisticRegression

from optaxls import linear
from optaxls.linear.coordinates import greedy
from optaxls.linear.coordinates._model import Model, minimised
from optaxls.linear.coordinates._search import searched_step
from tests.linear.problems import data, minimum, objective

LOSSES = [
    "logistic",
    pytest.param("squared", marks=pytest.mark.slow),
    pytest.param("huber", marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def params(fit):
    return np.append(fit.coefficients, fit.intercept)


def solved(loss="logistic", l2=0.05, l1=0.0, **given):
    x, y = data(loss)
    problem = linear.problem(x, y, loss=loss, l2=l2, l1=l1, **given)
    return linear.greedy_coordinate(problem, tolerance=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_minimum_is_that_of_scipy_in_ten_passes(loss):
    x, y = data(loss)
    fit = solved(loss)
    assert fit.converged and fit.optimality <= 1e-10 and fit.num_passes <= 10
    np.testing.assert_allclose(params(fit), minimum(x, y, loss, l2=0.05), atol=1e-8)
    value, gradient = objective(params(fit), x, y, loss, l2=0.05)
    np.testing.assert_allclose(fit.objective, value, rtol=1e-12)
    np.testing.assert_allclose(fit.optimality, abs(gradient).max(), atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_with_l1_the_subgradient_contains_0_and_the_intercept_is_free(loss, l2):
    x, y = data(loss)
    l1 = 0.1
    fit = solved(loss, l2, l1)
    value, gradient = objective(params(fit), x, y, loss, l2, l1)
    w = np.asarray(fit.coefficients)
    zero = w == 0
    assert fit.converged and zero.any() and not zero.all()
    assert (abs(gradient[:-1][zero]) <= l1 + 1e-10).all()
    np.testing.assert_allclose(gradient[:-1][~zero], -l1 * np.sign(w[~zero]), atol=1e-9)
    assert abs(gradient[-1]) <= 1e-10 and abs(fit.intercept) > 0.01
    np.testing.assert_allclose(fit.objective, value, rtol=1e-12)


def test_weights_count_as_repeated_rows_and_0_as_none():
    x, y = data("logistic")
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    wanted = minimum(np.repeat(x, weights, 0), np.repeat(y, weights), "logistic", 0.05)
    np.testing.assert_allclose(params(solved(weights=weights)), wanted, atol=1e-8)


@functools.cache
def wide():
    """More columns than rows, neighbours alike, and as many sizes as there are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 200))
    x[:, 1:] += 0.7 * x[:, :-1]
    z = x[:, ::20] @ rng.standard_normal(10) + 0.5 * rng.standard_normal(60)
    return x, z


@pytest.mark.slow
def test_coefficients_are_those_of_lasso():
    x, z = wide()
    fit = linear.greedy_coordinate(
        linear.problem(x, z + 2, loss="squared", l1=0.1), tolerance=1e-10
    )
    other = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(x, z + 2)
    assert np.array_equal(np.asarray(fit.coefficients) != 0, other.coef_ != 0)
    np.testing.assert_allclose(fit.coefficients, other.coef_, atol=1e-6)
    np.testing.assert_allclose(fit.intercept, other.intercept_, atol=1e-6)
    assert fit.num_passes <= 10


@pytest.mark.slow
def test_coefficients_are_those_of_liblinear():
    x, z = wide()
    y, l1 = np.sign(z), 0.05
    problem = linear.problem(x, y, loss="logistic", l1=l1, intercept=False)
    fit = linear.greedy_coordinate(problem, tolerance=1e-10)
    other = LogisticRegression(
        l1_ratio=1, solver="liblinear", C=1 / (l1 * 60), fit_intercept=False,
        tol=1e-10, max_iter=100_000,
    ).fit(x, y).coef_[0]  # fmt: skip
    assert np.array_equal(np.asarray(fit.coefficients) != 0, other != 0)
    np.testing.assert_allclose(fit.coefficients, other, atol=1e-5)


def test_working_sets_hold_the_support_and_then_the_largest_violations():
    x, z = wide()
    problem = linear.problem(x, z, loss="squared", l1=0.1)
    rng = np.random.default_rng(1)
    w = jnp.asarray(rng.standard_normal(200) * (rng.uniform(size=200) < 0.1))

    @jax.jit
    def sets():
        place = greedy._arrived(problem, w, jnp.zeros(()), True)
        pair = (greedy._working_set(problem, place, size) for size in (40, 5))
        return *pair, greedy._wanted(problem, place)

    found, few, wanted = map(np.asarray, sets())
    support = np.flatnonzero(w)
    assert len(set(found)) == 40 and set(support) <= set(found)
    _, gradient = objective(np.append(w, 0.0), x, z, "squared")
    violations = np.maximum(abs(gradient[:-1]) - 0.1, 0)
    violations[support] = -1
    others = np.argsort(-violations)[: 40 - len(support)]
    assert set(found) == set(support) | set(others)
    # Half as many again, since more than these violate the condition.
    assert wanted == len(support) + len(support) // 2
    # Too many for the set: those of the largest violation, whichever they are.
    w = np.asarray(w)
    beside = abs(gradient[:-1] + 0.1 * np.sign(w))
    violations = np.where(w == 0, np.maximum(abs(gradient[:-1]) - 0.1, 0), beside)
    assert set(few) == set(np.argsort(-violations)[:5])


def test_sizes_double_in_four_steps_and_end_at_all_or_at_the_largest():
    assert greedy._sizes(30) == [30] and greedy._sizes(64) == [64]
    assert greedy._sizes(400) == [64, 256, 320, 384, 400]
    assert greedy._sizes(10**6)[-5:] == [1024, 1280, 1536, 1792, 2048]


def test_a_size_is_kept_until_two_smaller_ones_would_do():
    sizes = greedy._sizes(3000)
    assert greedy._chosen(sizes, 0, 3000) == (64, -1, 64)
    assert greedy._chosen(sizes, 257, 3000) == (320, 64, 320)
    assert greedy._chosen(sizes, 1793, 3000) == (2048, 1536, 3000)
    assert greedy._chosen(sizes, 3000, 3000) == (2048, 1536, 3000)


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize("l1", [0.02, 0.0])
def test_sets_grow_as_far_as_they_must_and_the_minimum_is_the_same(l1, monkeypatch):
    x, z = wide()
    problem = linear.problem(x[:, :20], z, loss="squared", l1=l1, l2=0.1)
    whole = linear.greedy_coordinate(problem, tolerance=1e-10)
    monkeypatch.setattr(greedy, "_FIRST_SIZE", 3)
    monkeypatch.setattr(greedy, "_SIZES", (6,))
    grown = linear.greedy_coordinate(problem, tolerance=1e-10)
    inside = jax.jit(linear.greedy_coordinate, static_argnames="tolerance")(
        problem, tolerance=1e-10
    )
    assert grown.converged and grown.num_passes > whole.num_passes
    np.testing.assert_allclose(grown.coefficients, whole.coefficients, atol=1e-8)
    np.testing.assert_allclose(inside.coefficients, whole.coefficients, atol=1e-8)


@pytest.mark.slow
def test_where_the_largest_set_is_too_small_its_members_take_turns(monkeypatch):
    monkeypatch.setattr(greedy, "_LARGEST", 3)
    x, y = data("logistic")
    fit = solved()
    assert fit.converged and (np.asarray(fit.coefficients) != 0).all()
    np.testing.assert_allclose(params(fit), minimum(x, y, "logistic", 0.05), atol=1e-7)


def test_features_far_from_0_cost_no_passes():
    x, y = data("logistic")
    near, far = (
        linear.greedy_coordinate(
            linear.problem(x + shift, y, loss="logistic", l2=0.05), tolerance=1e-8
        )
        for shift in (0.0, 1e3)
    )
    np.testing.assert_allclose(far.coefficients, near.coefficients, atol=1e-6)
    assert far.converged and far.num_passes <= near.num_passes + 2


@pytest.mark.slow
def test_columns_that_are_constant_or_twice_there_do_no_harm():
    x, y = data("logistic")
    plain = linear.greedy_coordinate(linear.problem(x[:, :2], y, loss="logistic"))
    extra = np.c_[x[:, :2], x[:, 0], np.full(len(y), 7.0)]
    fit = linear.greedy_coordinate(linear.problem(extra, y, loss="logistic"))
    assert fit.converged and np.isfinite(params(fit)).all()
    np.testing.assert_allclose(fit.objective, plain.objective, rtol=1e-10)


@pytest.mark.slow
def test_penalties_can_be_mapped_over():
    x, y = data("logistic")

    @jax.jit
    @jax.vmap
    def fits(l1):
        problem = linear.problem(x, y, loss="logistic", l1=l1, l2=0.05)
        return linear.greedy_coordinate(problem, tolerance=1e-10)

    found = fits(jnp.array([0.0, 0.1]))
    assert found.converged.all()
    for place, l1 in enumerate((0.0, 0.1)):
        np.testing.assert_allclose(
            found.coefficients[place], solved(l1=l1).coefficients, atol=1e-8
        )


@pytest.mark.slow
def test_a_bad_row_that_only_the_program_sees_gives_nan_and_no_convergence():
    x, y = data("logistic")

    @jax.jit
    def fitted(x):
        return linear.greedy_coordinate(linear.problem(x, y, loss="logistic", l1=0.1))

    fit = fitted(jnp.asarray(x).at[3, 1].set(jnp.nan))
    assert jnp.isnan(fit.optimality) and not fit.converged


@pytest.mark.slow
def test_in_float32_a_tolerance_below_rounding_ends_the_run():
    x, y = (array.astype(np.float32) for array in data("logistic"))
    problem = linear.problem(x, y, loss="logistic", l2=0.05)
    with pytest.warns(RuntimeWarning, match="greedy_coordinate has not converged"):
        fit = linear.greedy_coordinate(problem, tolerance=0.0)
    assert not fit.converged and fit.num_passes < 1000
    assert fit.coefficients.dtype == jnp.float32 and fit.optimality < 3e-6
    np.testing.assert_allclose(params(fit), minimum(x, y, "logistic", 0.05), atol=1e-4)


def by_hand(matrix, slopes, w, l1):
    """The steps of the model, one by one, and the places they went to."""
    places, first = [], None
    while len(places) < 20 * len(w):
        steps = slopes / np.diag(matrix)
        shrink = l1 / np.diag(matrix)
        goal = np.sign(w - steps) * np.maximum(abs(w - steps) - shrink, 0)
        promise = np.diag(matrix) * (goal - w) ** 2
        first = promise.max() if first is None else first
        if promise.max() <= 1e-4 * first:
            break
        place = promise.argmax()
        places.append(place)
        slopes = slopes + matrix[place] * (goal - w)[place]
        w = np.where(np.arange(len(w)) == place, goal, w)
    return w, places


def test_steps_on_the_model_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 6)) * np.geomspace(3, 0.3, 6)
    matrix, slopes = root.T @ root, 5 * rng.standard_normal(6)
    start = np.array([1.0, 0, 0, -1, 0, 0])
    none = jnp.zeros(())
    model = Model(none, none, *map(jnp.asarray, (matrix, slopes, start)), none)
    found = minimised(model, jnp.asarray(0.5))
    wanted, places = by_hand(matrix, slopes, start, 0.5)
    assert len(places) > 6 and len(set(places)) > 2
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize(("steep", "wanted"), [(0.4, 1.0), (3.0, 0.5), (17.0, 0.0625)])
def test_steps_are_halved_until_the_objective_falls_enough(steep, wanted):
    """f(t) = 1 - t + steep t^2 / 2 with Armijo's constant of 1e-4."""
    found = searched_step(
        lambda t: 1 - t + steep * t**2 / 2, jnp.ones(()), -jnp.ones(())
    )
    assert found == wanted
    assert 1 - wanted + steep * wanted**2 / 2 <= 1 - 1e-4 * wanted


def test_without_a_promise_there_is_no_step():
    assert searched_step(lambda t: 1 - t, jnp.ones(()), jnp.zeros(())) == 0
    assert searched_step(lambda t: jnp.nan * t, jnp.ones(()), -jnp.ones(())) == 0
