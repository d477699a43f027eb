"""The search for a function's Lipschitz constant, against a loop in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.linear._finite_sums.search import searched_constant
from optaxls.linear._losses import LOSSES


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def by_hand(loss, x, y, weights, w, constant):
    """Doubles until f(w - g / L) <= f(w) - |g|^2 / (2 L), from the features."""

    def value(w):
        return float(np.sum(weights * np.asarray(loss.value(x @ w, y))))

    gradient = (weights * np.asarray(loss.slope(x @ w, y))) @ x
    while value(w - gradient / constant) > value(w) - gradient @ gradient / (
        2 * constant
    ):
        constant *= 2
    return constant


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["logistic", "squared", "huber"])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("first", [1e-3, 100.0])
def test_it_doubles_as_a_plain_loop_does(loss, size, first):
    rng = np.random.default_rng(size)
    x, w, y = rng.standard_normal((size, 3)), rng.standard_normal(3), np.ones(size)
    weights = rng.uniform(0.5, 2, size)
    chosen = LOSSES[loss]
    slopes = weights * chosen.slope(x @ w, y)
    search = jax.jit(lambda *given: searched_constant(chosen, *given))
    found = search(
        *map(jnp.asarray, (x @ w, y, weights, x @ (slopes @ x), jnp.asarray(first)))
    )
    assert found.passed
    assert found.constant == by_hand(chosen, x, y, weights, w, first)


def test_of_least_squares_it_is_at_most_twice_the_squared_length():
    x = np.array([3.0, 4.0])
    for first in (0.1, 1.0, 7.0):
        found = searched_constant(
            LOSSES["squared"],
            jnp.zeros(1),
            jnp.ones(1),
            jnp.ones(1),
            jnp.array([-25.0]),
            jnp.asarray(first),
        )
        assert x @ x <= found.constant < 2 * x @ x


def test_without_a_gradient_there_is_no_test():
    one = jnp.ones(1)
    found = searched_constant(
        LOSSES["squared"], one, one, one, jnp.zeros(1), jnp.ones(())
    )
    assert not found.passed
