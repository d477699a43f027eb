"""Directions along one coordinate, and along few whose sum stays the same."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from optaxls.directions.coordinates._pair_rules import by_gs1, rooms_of

GRAD = {"a": jnp.array([[1.0, -4.0], [2.0, 3.5]]), "b": jnp.array(-3.0)}


@pytest.mark.parametrize("rule", ["gs", "gsl"])
def test_the_steepest_coordinate_of_a_tree_is_kept(rule):
    smoothness = {"a": jnp.array([[1.0, 16.0], [1.0, 1.0]]), "b": 0.25}
    tx = optaxls.scale_by_greedy_coordinate(rule, smoothness=smoothness)
    found, _ = tx.update(GRAD, tx.init(GRAD))
    # |-4| is the largest entry, and 3 / sqrt(0.25) the largest decrease.
    kept = {"gs": (-4.0 / 16.0, 0.0), "gsl": (0.0, -12.0)}[rule]
    np.testing.assert_array_equal(found["a"], [[0.0, kept[0]], [0.0, 0.0]])
    assert found["b"] == kept[1]


def test_in_turn_every_coordinate_is_kept_once():
    tx = optaxls.scale_by_greedy_coordinate("cyclic")
    state, total = tx.init(GRAD), jax.tree.map(jnp.zeros_like, GRAD)
    for _ in range(5):
        found, state = tx.update(GRAD, state)
        assert sum(int(jnp.sum(leaf != 0)) for leaf in jax.tree.leaves(found)) == 1
        total = jax.tree.map(jnp.add, total, found)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, total, GRAD)))


def test_random_coordinates_are_uniform_and_follow_the_key():
    tx = optaxls.scale_by_greedy_coordinate("random", key=3)
    grad = jnp.arange(1.0, 5.0)

    def step(state, _):
        found, state = tx.update(grad, state)
        return state, jnp.argmax(found)

    places = jax.lax.scan(step, tx.init(grad), length=2000)[1]
    counts = np.bincount(places, minlength=4)
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(375))
    again = jax.lax.scan(step, tx.init(grad), length=2000)[1]
    assert np.array_equal(places, again)


@pytest.mark.parametrize("rule", ["gs", "gsl", "cyclic"])
def test_of_equals_the_first_is_kept_and_what_is_not_finite_is_passed_on(rule):
    tx = optaxls.scale_by_greedy_coordinate(rule, smoothness=1.0)
    equals = {"a": jnp.array([[2.0], [-2.0]]), "b": jnp.array([2.0])}
    found, state = tx.update(equals, tx.init(equals))
    np.testing.assert_array_equal(found["a"], [[2.0], [0.0]])
    assert found["b"] == 0.0
    broken = equals | {"b": jnp.array([jnp.nan])}
    found, _ = tx.update(broken, state)
    kept = {"gs": 0.0, "gsl": 0.0, "cyclic": -2.0}[rule]
    np.testing.assert_array_equal(found["a"], [[0.0], [kept]])
    assert jnp.isnan(found["b"][0])


def test_what_a_rule_needs_is_asked_for():
    with pytest.raises(ValueError, match="smoothness must be given"):
        optaxls.scale_by_greedy_coordinate("gsl")
    with pytest.raises(ValueError, match="key must be given"):
        optaxls.scale_by_greedy_coordinate("random")
    with pytest.raises(ValueError, match="rule must be one of"):
        optaxls.scale_by_greedy_coordinate("greedy")
    with pytest.raises(ValueError, match="smoothness must be given"):
        optaxls.scale_by_greedy_pair(rule="second_order")
    with pytest.raises(ValueError, match="lower must not be above upper"):
        optaxls.scale_by_greedy_pair(1.0, 0.0)
    tx = optaxls.scale_by_greedy_coordinate()
    with pytest.raises(TypeError, match="must be real"):
        tx.update(jnp.ones(2, jnp.complex64), tx.init(jnp.ones(2)))


def filled_by_hand(grad, down, up, curvature):
    """Mass goes from the steepest giver to the steepest taker, one room at a time."""
    down, up, moved, mass = down.copy(), up.copy(), np.zeros_like(grad), 0.0
    while True:
        giver = np.argmax(np.where(down > 0, grad, -np.inf))
        taker = np.argmin(np.where(up > 0, grad, np.inf))
        if down[giver] <= 0 or up[taker] <= 0:
            return moved
        part = (grad[giver] - grad[taker]) / curvature - mass
        part = min(part, down[giver], up[taker])
        if part <= 0:
            return moved
        moved[giver] -= part
        moved[taker] += part
        down[giver] -= part
        up[taker] -= part
        mass += part


@pytest.mark.slow
def test_gs1_is_what_filling_room_after_room_gives():
    """With a Hessian that is a multiple of 1, and no cut along the result."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        moved_by = jax.jit(lambda rooms: by_gs1(rooms, lambda vector: vector))
        for _ in range(30):
            grad = rng.standard_normal(9)
            at = rng.choice([0.0, 0.02, 0.1, 0.5, 1.0], 9)
            rooms = rooms_of(jnp.asarray(grad), jnp.asarray(at), 0.0, 1.0)
            # The curvature of a pair is 2 * 1, that along the result is at most 2 too.
            found = moved_by(rooms)
            wanted = filled_by_hand(grad, at.copy(), 1 - at, 2.0)
            share = min(1.0, -(grad @ wanted) / (wanted @ wanted))
            np.testing.assert_allclose(found, share * wanted, atol=1e-12)


numbers = st.floats(-3, 3, width=32)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    grad=st.lists(numbers, min_size=6, max_size=6),
    at=st.lists(st.sampled_from([-0.5, -0.3, 0.0, 0.1, 0.3]), min_size=6, max_size=6),
    rule=st.sampled_from(["gs1", "second_order"]),
)
def test_the_sum_stays_and_the_bounds_hold(grad, at, rule):
    found, gap = _found(rule, jnp.array(grad), jnp.array(at))
    moved = jnp.array(at) - found
    assert jnp.all((moved >= jnp.float32(-0.5)) & (moved <= jnp.float32(0.3)))
    assert abs(float(jnp.sum(found))) < 1e-5
    promised = float(jnp.array(grad) @ found)
    assert promised > 0 if gap > 1e-3 else promised >= 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["gs1", "second_order"])
def test_a_gradient_that_is_not_finite_reaches_the_search(rule):
    found, _ = _found(rule, jnp.array([1.0, jnp.nan, 0.0, 0, 0, 0]), jnp.zeros(6))
    assert not jnp.all(jnp.isfinite(found))


_ROOTS = jnp.asarray(np.random.default_rng(1).standard_normal((6, 6)), jnp.float32)
_HESSIAN = _ROOTS @ _ROOTS.T


def _make(rule):
    smoothness = jnp.diag(_HESSIAN) if rule == "second_order" else None
    return optaxls.scale_by_greedy_pair(-0.5, 0.3, rule=rule, smoothness=smoothness)


@jax.jit
def _both(grad, at):
    results = []
    for rule in ("gs1", "second_order"):
        tx = _make(rule)
        found, state = tx.update(
            grad, tx.init(at), at, value_fn=lambda w: 0.5 * w @ _HESSIAN @ w
        )
        results.append((found, state.report.gap))
    return results


def _found(rule, grad, at):
    return _both(grad, at)[0 if rule == "gs1" else 1]


def test_the_pair_of_second_order_is_the_best_of_those_that_hold_a_steepest_one():
    rng = np.random.default_rng(2)
    hessian = np.asarray(_HESSIAN, float)
    for _ in range(20):
        grad = rng.standard_normal(6).astype(np.float32)
        at = rng.choice([-0.5, -0.3, 0.0, 0.3], 6).astype(np.float32)
        down, up = at + 0.5, np.float32(0.3) - at
        best = 0.0
        giver = np.argmax(np.where(down > 0, grad, -np.inf))
        taker = np.argmin(np.where(up > 0, grad, np.inf))
        for i, j in [(giver, j) for j in range(6)] + [(i, taker) for i in range(6)]:
            gap, room = grad[i] - grad[j], min(down[i], up[j])
            if gap > 0 and room > 0:
                bend = hessian[i, i] + hessian[j, j] - 2 * hessian[i, j]
                mass = min(gap / bend, room)
                best = max(best, gap * mass - bend * mass**2 / 2)
        found = np.asarray(_found("second_order", jnp.array(grad), jnp.array(at))[0])
        gain = grad @ found - found @ hessian @ found / 2
        assert gain == pytest.approx(best, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["gs1", "second_order"])
def test_it_runs_to_the_minimum_on_the_simplex(rule):
    """Beside the projection of the simplex, which solves the same problem."""
    targets = {"a": jnp.array([0.9, -0.2, 0.4]), "b": jnp.array(0.3)}

    def loss(w):
        return 0.5 * optax.tree.norm(optax.tree.sub(w, targets), squared=True)

    pair = optaxls.scale_by_greedy_pair(0.0, rule=rule, smoothness=1.0)
    one = optaxls.scale_by_initial_step(optaxls.constant(1.0))
    optimizer = optax.chain(pair, optax.scale(-1.0), one)
    step = jax.jit(optaxls.make_step(loss, optimizer))
    w = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.25), targets)
    state = optimizer.init(w)
    for _ in range(60):
        w, state, *_ = step(w, state)
    whole = jnp.append(targets["a"], targets["b"])
    wanted = optax.projections.projection_simplex(whole)
    np.testing.assert_allclose(jnp.append(w["a"], w["b"]), wanted, atol=1e-6)
    assert optaxls.metrics(state)["gap"] < 1e-6
