"""Each row of the page on jaxopt: both sides run, and end at the same params."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from optaxls.prox import from_jaxopt

jaxopt = pytest.importorskip("jaxopt")

PAGE = pathlib.Path(optaxls.__file__).parent / "transforms" / "FROM_JAXOPT.md"
_rng = np.random.default_rng(0)
FEATURES = jnp.asarray(_rng.normal(size=(40, 6)), jnp.float32)
TARGETS = jnp.asarray(
    FEATURES @ np.array([2.0, 0.0, -1.0, 0.0, 0.5, 0.0]) + 0.1 * _rng.normal(size=40),
    jnp.float32,
)
START = jnp.zeros(6)


def loss(w, data=None):
    del data
    return 0.5 * jnp.mean((FEATURES @ w - TARGETS) ** 2)


def minimized(h):
    result = optaxls.minimize(loss, START, optaxls.fista(h), tolerance=1e-6)
    assert result.converged
    return optaxls.eval_params(result.opt_state, result.params)


def proximal_gradient():
    prox = jaxopt.prox.prox_lasso
    solver = jaxopt.ProximalGradient(loss, prox, tol=1e-6, maxiter=2000)
    return solver.run(START, 0.2).params, minimized(from_jaxopt(prox, 0.2))


def projected_gradient():
    projection = jaxopt.projection.projection_l1_ball
    solver = jaxopt.ProjectedGradient(loss, projection, tol=1e-6, maxiter=2000)
    return solver.run(START, 1.5).params, minimized(from_jaxopt(projection, 1.5))


def lbfgsb():
    lower, upper = jnp.full(6, -0.5), jnp.full(6, 1.0)
    solver = jaxopt.LBFGSB(loss, tol=1e-6)
    box = optaxls.prox.box(lower, upper)
    return solver.run(START, (lower, upper)).params, minimized(box)


def block_coordinate_descent():
    prox = jaxopt.prox.prox_lasso
    fun = jaxopt.objective.least_squares
    solver = jaxopt.BlockCoordinateDescent(fun, prox, tol=1e-7, maxiter=2000)
    theirs = solver.run(START, 0.2, (FEATURES, TARGETS)).params
    return theirs, minimized(from_jaxopt(prox, 0.2))


def stochastic(solver, optimizer, steps):
    params, state = START, solver.init_state(START, data=None)
    theirs = jax.jit(lambda params, state: solver.update(params, state, data=None))
    for _ in range(steps):
        params, state = theirs(params, state)
    step = jax.jit(optaxls.make_step(loss, optimizer))
    ours, own = START, optimizer.init(START)
    for _ in range(steps):
        ours, own, *_ = step(ours, own, None)
    return params, ours


def armijo_sgd():
    solver = jaxopt.ArmijoSGD(loss, maxiter=400)
    return stochastic(solver, optaxls.sls(steps_per_epoch=1, c=0.5), 150)


def polyak_sgd():
    # At the least loss both step sizes are 0; it is 0 for neither.
    bound = loss(jnp.linalg.lstsq(FEATURES, TARGETS)[0])

    def above(w, data=None):
        return loss(w) - bound

    solver = jaxopt.PolyakSGD(above, max_stepsize=10.0, maxiter=400, jit=False)
    return stochastic(solver, optaxls.sps(c=1.0, lower_bound=float(bound)), 150)


ROWS = {
    "ProximalGradient": proximal_gradient,
    "ProjectedGradient": projected_gradient,
    "LBFGSB": lbfgsb,
    "BlockCoordinateDescent": block_coordinate_descent,
    "ArmijoSGD": armijo_sgd,
    "PolyakSGD": polyak_sgd,
}
QUICK = ("ProximalGradient", "ProjectedGradient")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in ROWS
    ],
)
def test_both_sides_end_at_the_same_params(name):
    theirs, ours = ROWS[name]()
    assert jnp.allclose(ours, theirs, atol=2e-3), (theirs, ours)


def test_the_page_has_a_row_for_each():
    table = PAGE.read_text().split("<!-- jaxopt -->")[1]
    assert set(re.findall(r"^\| `(\w+)\(", table, flags=re.MULTILINE)) == set(ROWS)


OPERATORS = {
    "prox_none": None,
    "prox_lasso": 0.3,
    "prox_non_negative_lasso": 0.3,
    "prox_ridge": 0.7,
    "prox_non_negative_ridge": 0.7,
    "prox_elastic_net": (0.3, 0.5),
    "prox_group_lasso": 0.4,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_the_penalty_is_the_one_of_the_operator(name):
    """No other point has a smaller sum of penalty and distance."""
    h = from_jaxopt(getattr(jaxopt.prox, name), OPERATORS[name])
    w = jnp.array([1.5, -0.4, 0.2, -2.0])
    found = h.prox(w, 0.5)

    def objective(x):
        return float(h.penalty(x) + jnp.sum((x - w) ** 2))

    for other in np.random.default_rng(1).normal(size=(50, 4)):
        x = found + 0.3 * jnp.asarray(other, jnp.float32)
        x = x if h.domain is None else h.domain(x)
        assert objective(found) <= objective(x) + 1e-5
