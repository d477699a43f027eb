"""Proximal operators: they minimise what they say, and leave alone what they should."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from optaxls import prox

PENALTIES = {
    "l1": prox.l1(0.7),
    "l1_by_entry": prox.l1(jnp.array([[0.0, 0.5, 1.0], [2.0, 0.1, 0.3]])),
    "l2": prox.l2(1.5),
    "rows": prox.group_l2(0.9, axis=1),
    "columns": prox.group_l2(0.4, axis=(0,)),
    "nuclear": prox.nuclear(0.8),
    "box": prox.box(-0.5, jnp.array([0.25, 1.0, jnp.inf])),
    "nonnegative": prox.nonnegative(),
    "simplex": prox.simplex(),
    "l1_ball": prox.l1_ball(1.5),
}
numbers = st.floats(-4, 4, width=32)
step_sizes = st.floats(0.125, 3.0, width=32)
matrices = st.lists(numbers, min_size=6, max_size=6).map(
    lambda row: jnp.array(row, jnp.float32).reshape(2, 3)
)


@functools.cache
def compared(name):
    """The objective of the proximal operator at its result, and at other points."""
    h = PENALTIES[name]

    @jax.jit
    def compare(w, other, step_size):
        best = h.prox(w, step_size)
        if h.domain is not None:
            other = h.domain(other)

        def objective(x):
            return h.penalty(x) + jnp.sum((x - w) ** 2) / (2 * step_size)

        # Between two points of a convex set are points of the set.
        shares = (1.0, 0.1, 0.01)
        others = [objective(best + share * (other - best)) for share in shares]
        return objective(best), jnp.stack(others)

    return compare


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(list(PENALTIES)),
    matrices,
    matrices,
    st.floats(0.125, 3.0, width=32),
)
def test_no_other_point_is_better(name, w, other, step_size):
    """The least of h(x) + ||x - w||^2 / (2 step), among the points of the domain."""
    best, others = compared(name)(w, other, jnp.float32(step_size))
    assert jnp.all(best <= others + 1e-4 * (1 + jnp.abs(others)))


@pytest.mark.slow
@pytest.mark.parametrize("name", PENALTIES)
def test_the_terms_sum_up_to_the_penalty(name):
    w = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    h = PENALTIES[name]
    if h.terms is not None:
        total = sum(float(jnp.sum(term)) for term in jax.tree.leaves(h.terms(w)))
        assert total == pytest.approx(float(h.penalty(w)), rel=1e-6)
    assert h.is_set == (h.domain is not None)
    if h.separable:
        sizes = jnp.full((2, 3), 0.5)
        assert jnp.allclose(h.prox(w, sizes), h.prox(w, 0.5))


def test_closed_forms():
    w = jnp.array([3.0, -0.5, 0.2])
    assert jnp.allclose(prox.l1(0.5).prox(w, 2.0), jnp.array([2.0, 0.0, 0.0]))
    matrix = jnp.array([[3.0, 4.0], [0.6, 0.8]])
    found = prox.group_l2(1.0, axis=1).prox(matrix, 2.0)
    assert jnp.allclose(found, jnp.array([[1.8, 2.4], [0.0, 0.0]]), atol=1e-6)
    assert float(prox.group_l2(1.0, axis=1).penalty(matrix)) == pytest.approx(6.0)
    rotation = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    low_rank = rotation @ jnp.diag(jnp.array([3.0, 1.0])) @ rotation.T
    found = prox.nuclear(0.5).prox(low_rank, 2.0)
    assert jnp.linalg.matrix_rank(found, rtol=1e-4) == 1
    assert float(prox.nuclear(0.5).penalty(low_rank)) == pytest.approx(2.0)
    rows = prox.row_normalised().prox(jnp.array([[3.0, 4.0], [0.0, 0.0]]), 1.0)
    assert jnp.allclose(rows, jnp.array([[0.6, 0.8], [0.0, 0.0]]))


def test_a_complex_entry_keeps_its_phase():
    w = jnp.array([3 + 4j, 0.3j])
    found = prox.l1(1.0).prox(w, 1.0)
    assert jnp.allclose(found, jnp.array([2.4 + 3.2j, 0.0]))
    with pytest.raises(TypeError, match="must be real"):
        prox.box(0.0, 1.0).prox(w, 1.0)


def test_parts_of_weight_zero_and_other_leaves_are_the_same_objects():
    params = {
        "w": jnp.ones(2),
        "b": jnp.ones(1),
        "n": jnp.array(3),
        "none": None,
        "half": jnp.ones(2, jnp.bfloat16),
    }
    weights = {"w": 0.25, "b": 0.0, "n": 1.0, "none": 1.0, "half": 0.25}
    del weights["none"]
    weights["none"] = None
    found = prox.l1(weights).prox(params, 1.0)
    assert found["b"] is params["b"] and found["n"] is params["n"]
    assert found["none"] is None and found["half"].dtype == jnp.bfloat16
    assert float(found["w"][0]) == 0.75 == float(found["half"][0])
    assert float(prox.l1(weights).penalty(params)) == 1.0


def test_by_part_is_each_parts_own():
    h = prox.by_part({"a": prox.l1(1.0), "p": prox.box(0.0, 1.0), "free": None})
    params = {"a": {"x": jnp.array([3.0])}, "p": jnp.array([7.0]), "free": jnp.ones(1)}
    found = h.prox(params, 2.0)
    assert found["a"]["x"] == 1 and found["p"] == 1 and found["free"] == 1
    assert float(h.penalty(params)) == 3.0
    assert h.separable and not h.is_set
    assert h.domain is not None
    assert h.domain(params)["p"] == 1 and h.domain(params)["a"]["x"] == 3
    assert prox.by_part({"p": prox.simplex()}).is_set
    for wrong in ({"a": 1.0}, {"a": None}, {}):
        with pytest.raises(TypeError, match="by_part"):
            prox.by_part(wrong)


MISTAKES: list[Any] = [
    (lambda: prox.box(1.0, 0.0), "lower must not be above upper"),
    (lambda: prox.box(jnp.array([0.0, 2.0]), 1.0), "lower must not be above upper"),
    (lambda: prox.box({"a": 0.0, "b": 3.0}, {"a": 1.0, "b": 2.0}), "above upper"),
    (lambda: prox.box(math.nan, 1.0), "lower must be a number"),
    (lambda: prox.box(0.0, jnp.array([1.0, jnp.nan])), "upper must be a number"),
    (lambda: prox.box("0", 1.0), "lower must be a number"),
    (lambda: prox.l1({"a": 0.1, "b": -0.1}), "weight must lie in"),
    (lambda: prox.l1(jnp.array([0.1, -0.1])), "weight must lie in"),
    (lambda: prox.l2(np.array([math.nan])), "weight must lie in"),
    (lambda: prox.row_normalised(length=0.0), "length must lie in"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_mistakes_are_found_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_mistakes():
    with pytest.raises(TypeError, match="axis must be"):
        prox.group_l2(1.0, axis=0.5)  # pyright: ignore
    with pytest.raises(TypeError, match="must be a matrix"):
        prox.nuclear(1.0).prox(jnp.ones(3), 1.0)
    with pytest.raises(TypeError, match="must be a Proximal"):
        optaxls.along_prox(0.1)  # pyright: ignore
    with pytest.raises(ValueError, match="use along_prox"):
        optaxls.along_projection(prox.l1(0.1))
    with pytest.raises(ValueError, match="must be a set"):
        optaxls.keep_inside(prox.l1(0.1))
    with pytest.raises(ValueError, match="penalty must be given"):
        prox.from_jaxopt(lambda params, weight, scaling: params)
    with pytest.raises(TypeError, match="must be a function"):
        prox.from_jaxopt(0.1)  # pyright: ignore


def test_infinite_bounds_and_radii_leave_params_free():
    w = jnp.array([1e30, -3.0])
    assert jnp.array_equal(prox.box(-jnp.inf, jnp.inf).prox(w, 1.0), w)
    assert jnp.array_equal(prox.l1_ball(jnp.inf).prox(w, 1.0), w)


def test_a_projection_of_optax_is_a_path():
    path = optaxls.along_projection(optax.projections.projection_simplex)
    w = jnp.array([0.5, 0.5])
    result = optaxls.line_search(
        lambda w: w[0], w, jnp.array([-1.0, 0.0]), value=w[0], grad=jnp.array([1.0, 0]),
        condition=optaxls.armijo(0.5), initial_step=optaxls.constant(5.0), path=path,
    )  # fmt: skip
    assert jnp.allclose(result.params, jnp.array([0.0, 1.0]))
