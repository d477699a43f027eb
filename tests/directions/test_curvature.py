"""Directions by curvature: closed forms, a NumPy oracle, and what must not enter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests.directions.bfgs import bfgs_direction

MATRIX = np.array([[2.0, 0.5, 0.0], [0.5, 3.0, -1.0], [0.0, -1.0, 4.0]], np.float32)
CURVATURES = jnp.array([1.0, 4.0, 9.0])
START = jnp.array([1.0, -2.0, 3.0])
# Without a forcing term conjugate gradients solve the system, as the matrix does.
EXACT = functools.wraps(optaxls.scale_by_hessian_free)(
    functools.partial(optaxls.scale_by_hessian_free, forcing=0.0)
)
BOTH = [optaxls.scale_by_newton, EXACT]


def loss(w):
    return w @ jnp.array(MATRIX) @ w / 2


def diagonal(w):
    return CURVATURES @ w**2 / 2


def step_of(optimizer, state, w, fn):
    value, grad = jax.value_and_grad(fn)(w)
    updates, state = optimizer.update(
        grad, state, w, value=value, grad=grad, value_fn=fn
    )
    return w + updates, state


@pytest.mark.parametrize("make", BOTH)
def test_the_direction_solves_the_damped_system(make):
    grad = jnp.array([1.0, -1.0, 2.0])
    tx = make(damping=0.5)
    found, _ = tx.update(
        grad, tx.init(grad), START, value_fn=lambda w: (loss(w), "aux")
    )
    wanted = np.linalg.solve(MATRIX + 0.5 * np.eye(3), grad)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("make", BOTH)
def test_the_curvature_is_that_of_its_own_batch_where_one_is_given(make):
    tx = make(damping=1.0)
    found, _ = tx.update(
        START, tx.init(START), START, value_fn=loss, curvature_value_fn=diagonal
    )
    np.testing.assert_allclose(found, START / (CURVATURES + 1), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("make", BOTH)
def test_leaves_of_every_kind(make):
    """Two dtypes, complex, integer, None: curvatures 1, 2 and 4."""
    params = {"a": jnp.array(3.0, jnp.bfloat16), "z": jnp.array([1.0 + 2.0j])}
    params |= {"b": jnp.array([2.0]), "count": jnp.array([7]), "none": None}

    def fn(p):
        a = p["a"].astype(jnp.float32)
        return a**2 / 2 + jnp.sum(p["b"] ** 2) + 2 * jnp.sum(jnp.abs(p["z"]) ** 2)

    ascent = {"a": params["a"], "z": 4 * params["z"], "b": 2 * params["b"]}
    ascent |= {"count": jnp.array([0]), "none": None}
    tx = make(damping=0.0)
    found, _ = tx.update(ascent, tx.init(params), params, value_fn=fn)
    # A matrix in bfloat16 is off by 2^-7 of its norm, which is added to this curvature.
    error = 2**-7 * np.sqrt(1 + 4 + 2 * 16) if make is BOTH[0] else 0.0
    wanted = 3 / (1 + error)
    np.testing.assert_allclose(found["a"].astype(jnp.float32), wanted, rtol=1e-2)
    np.testing.assert_allclose(found["b"], [2.0], rtol=1e-4)
    np.testing.assert_allclose(found["z"], [1.0 + 2.0j], rtol=1e-4)
    assert found["count"].tolist() == [0] and found["none"] is None
    assert found["a"].dtype == jnp.bfloat16


def test_fewer_steps_of_conjugate_gradients_are_less_exact():
    exact, rough = BOTH[1](damping=0.0), BOTH[1](damping=0.0, max_cg_steps=1)
    along = [
        tx.update(START, tx.init(START), START, value_fn=diagonal)[0]
        for tx in (exact, rough)
    ]
    np.testing.assert_allclose(along[0], START / CURVATURES, rtol=1e-4)
    share = START @ START / (START @ (CURVATURES * START))
    np.testing.assert_allclose(along[1], share * START, rtol=1e-5)


@pytest.mark.parametrize("make", BOTH)
def test_a_missing_loss_is_named_with_the_cure(make):
    tx = make()
    with pytest.raises(TypeError, match=f"{make.__name__}: .*'value_fn'.*value_fn="):
        tx.update(START, tx.init(START), START)
    with pytest.raises(TypeError, match="'params'"):
        tx.update(START, tx.init(START), value_fn=loss)


@pytest.mark.parametrize(
    "optimizer",
    [optaxls.newton(damping=0.0), optaxls.hessian_free(damping=0.0, forcing=0.0)],
)
def test_one_step_solves_a_quadratic(optimizer):
    w, state = step_of(optimizer, optimizer.init(START), START, loss)
    np.testing.assert_allclose(w, 0, atol=1e-5)
    assert optaxls.metrics(state)["num_trials"] == 1
    assert optaxls.metrics(state)["step_size"] == 1


def test_lbfgs_is_bfgs_of_its_pairs_in_numpy():
    """Batches of different curvatures; more steps than the memory holds."""
    pair = optaxls.lbfgs_pairs(memory_size=2)
    rng = np.random.default_rng(0)
    state, pairs, w = pair.init(START), [], np.asarray(START)
    report = optaxls.scale_by_initial_step(optaxls.constant(1.0)).init(START)
    for _ in range(5):
        curvatures = rng.uniform(1, 5, 3).astype(np.float32)
        fn = lambda w, a=curvatures: jnp.array(a) @ w**2 / 2  # noqa: E731
        grad = jnp.array(curvatures * w)
        directions, state = pair.update(grad, state, jnp.array(w))
        wanted = bfgs_direction(pairs[-2:], curvatures * w)
        np.testing.assert_allclose(directions.searched, wanted, rtol=1e-3, atol=1e-5)
        moved = rng.standard_normal(3).astype(np.float32)
        taken = report._replace(accepted=jnp.array(True))
        state = pair.tell(
            state, jnp.array(moved), taken, jnp.array(w), grad=grad, value_fn=fn
        )
        pairs.append((moved, curvatures * moved))
        w = w + moved


NO_PAIR = {
    "a failed search": (False, jnp.ones(3), loss, 0),
    "no displacement": (True, jnp.zeros(3), loss, 0),
    "negative curvature": (True, jnp.ones(3), lambda w: -loss(w), 1),
    "no curvature": (True, jnp.ones(3), lambda w: 7 * jnp.sum(w), 1),
    "a loss that is not finite": (True, jnp.ones(3), lambda w: loss(w) * jnp.nan, 1),
}


@pytest.mark.parametrize("case", NO_PAIR)
def test_a_pair_without_curvature_does_not_enter(case):
    accepted, moved, fn, skipped = NO_PAIR[case]
    pair = optaxls.lbfgs_pairs(memory_size=2)
    state = pair.init(START)
    report = optaxls.scale_by_initial_step(optaxls.constant(1.0)).init(START)
    report = report._replace(accepted=jnp.array(accepted))
    grad = jax.grad(fn)(START)
    told = pair.tell(state, moved, report, START, grad=grad, value_fn=fn)
    assert told.report.num_skipped == skipped
    for new, old in zip(told[:-1], state[:-1], strict=True):
        np.testing.assert_array_equal(new, old)


# Batches on which a step fails: the gradient, the loss, and whether pairs are kept.
FAILURES = {
    "a search that found nothing": (START, 1.0, False),
    "a gradient of NaN": (START * jnp.nan, 1.0, True),
    "an infinite loss": (START, jnp.inf, True),
    "no gradient": (START * 0, 1.0, True),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_search_forgets_the_pairs_unless_its_batch_tells_nothing(case):
    grad, value, kept = FAILURES[case]
    pair = optaxls.lbfgs_pairs(memory_size=2)
    report = optaxls.scale_by_initial_step(optaxls.constant(1.0)).init(START)
    taken = report._replace(accepted=jnp.array(True), value=jnp.array(1.0))
    failed = report._replace(accepted=jnp.array(False), value=jnp.array(value))
    given = {"grad": jax.grad(loss)(START), "value_fn": loss}
    state = pair.tell(pair.init(START), jnp.ones(3), taken, START, **given)
    given["grad"] = grad
    state = pair.tell(state, jnp.zeros(3), failed, START, **given)
    assert jnp.any(state.curvatures > 0) == kept
    assert state.report.num_skipped == 0


def test_the_pairs_of_stochastic_lbfgs_are_of_one_batch_even_behind_a_clip():
    first, second = CURVATURES, 2 * CURVATURES[::-1]
    clipped = optax.clip_by_global_norm(1.0)
    optimizer = optax.chain(clipped, optaxls.stochastic_lbfgs(memory_size=3))
    state, w = optimizer.init(START), START
    structure = jax.tree.structure(state)
    for curvatures in (first, second):
        w, state = step_of(optimizer, state, w, lambda w, a=curvatures: a @ w**2 / 2)
    assert jax.tree.structure(state) == structure
    memory = state[1].pair
    for index, curvatures in ((1, first), (2, second)):
        step, change = memory.displacements[index], memory.changes[index]
        assert jnp.any(step != 0)
        np.testing.assert_allclose(change, curvatures * step, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_on_one_batch_it_is_optax_lbfgs_with_the_same_search():
    """With one pair. Of several, optax takes the scale of the last and we the mean."""
    rule = optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.constant(1.0), optaxls.backtracking(0.9)
    )
    plain = optax.chain(optax.scale_by_lbfgs(1), optax.scale(-1.0), rule)
    ours = optaxls.stochastic_lbfgs(memory_size=1)
    w = v = START
    state, other = ours.init(w), plain.init(v)
    for _ in range(4):
        w, state = step_of(ours, state, w, diagonal)
        v, other = step_of(plain, other, v, diagonal)
        np.testing.assert_allclose(w, v, rtol=1e-3, atol=1e-5)
