"""Searches against a plain-Python oracle, each other, and optax."""

import functools
import math

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import optaxls
from tests.parts import oracle

CONDITIONS = {"armijo": optaxls.armijo, "goldstein": optaxls.goldstein}
thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)
fractions = st.floats(0.05, 0.95)
scales = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)


def jax_polynomial(coefficients, w):
    """A 2-D quartic, and a strip in which it is not finite."""
    a, b, c, d, low, high, bad = coefficients
    x, y = w
    smooth = a * x * x + b * y * y + c * x * y + d * x**4
    return jnp.where((low <= x) & (x < high), bad, smooth)


def plain_polynomial(coefficients, x, y):
    a, b, c, d, low, high, bad = coefficients
    return bad if low <= x < high else a * x * x + b * y * y + c * x * y + d * x**4


@functools.cache
def compiled(condition, make_search):
    """One program for all numbers: they are arguments, not constants."""

    @jax.jit
    def solve(coefficients, w, direction, first, c, numbers, max_trials):
        value, grad = jax.value_and_grad(jax_polynomial, 1)(coefficients, w)
        result = optaxls.line_search(
            functools.partial(jax_polynomial, coefficients),
            w,
            direction,
            value=value,
            grad=grad,
            condition=CONDITIONS[condition](c),
            initial_step=optaxls.constant(first),
            search=make_search(numbers, max_trials),
        )
        return result[0], result.num_trials, result.accepted, value, grad @ direction

    return solve


def plain_search(numbers, max_trials):
    return optaxls.backtracking(numbers[0], numbers[1], max_trials)


def parallel_search(num_candidates):
    def make(numbers, max_trials):
        return optaxls.parallel_candidates(num_candidates, numbers[0], max_trials)

    return make


PARALLEL = {count: parallel_search(count) for count in (1, 2, 5, 16)}

# XLA takes subnormal numbers for 0, Python does not.
normal = functools.partial(st.floats, allow_subnormal=False)
losses = st.tuples(
    normal(0.01, 5),
    normal(0.01, 5),
    normal(-1, 1),
    normal(0, 2),
    normal(-3, 0.9),
    normal(-3, 0.9),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)


def solve_both(coefficients, first, c, numbers, max_trials, condition):
    """The engine's result and the oracle's, from w = (1, -1) along (-1, 1/2)."""
    with jax.enable_x64(True):
        run = compiled(condition, plain_search)
        *ours, value, slope = run(
            jnp.array(coefficients),
            jnp.array([1.0, -1.0]),
            jnp.array([-1.0, 0.5]),
            first,
            c,
            jnp.array(numbers),
            max_trials,
        )
    ours = [number.item() for number in ours]
    assume(float(slope) < 0)
    verdict = getattr(oracle, condition)(c)
    *theirs, margin = oracle.backtrack(
        lambda step: plain_polynomial(coefficients, 1.0 - step, -1.0 + 0.5 * step),
        verdict,
        float(value),
        float(slope),
        first,
        *numbers,
        budget=max_trials,
    )
    assume(margin > 1e-9 * (1 + abs(float(value))))
    return ours, theirs


@thorough
@given(losses, scales, fractions, st.floats(0.2, 0.95), st.integers(1, 40))
def test_backtracking_equals_a_plain_loop(coefficients, first, c, shrink, max_trials):
    ours, theirs = solve_both(
        coefficients, first, c, (shrink, 1.0), max_trials, "armijo"
    )
    assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
    assert ours[1:] == theirs[1:]


@thorough
@given(losses, scales, st.floats(0.05, 0.45), fractions, st.floats(1.2, 3.0))
def test_growing_backtracking_equals_a_plain_loop(coefficients, first, c, shrink, grow):
    ours, theirs = solve_both(coefficients, first, c, (shrink, grow), 30, "goldstein")
    assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
    assert ours[1:] == theirs[1:]


@pytest.mark.slow
@thorough
@given(
    losses,
    scales,
    fractions,
    st.floats(0.2, 0.95),
    st.integers(1, 40),
    st.sampled_from(sorted(PARALLEL)),
)
@example((1.0, 1.0, 0.0, 0.0, -3.0, 0.9, math.nan), 1.0, 0.5, 0.5, 5, 2)
@example((1.0, 1.0, 0.0, 0.0, -3.0, 0.9, math.nan), 1.0, 0.5, 0.9, 7, 5)
def test_parallel_candidates_equal_backtracking(
    coefficients, first, c, shrink, max_trials, num_candidates
):
    results = []
    with jax.enable_x64(True):
        for make in (plain_search, PARALLEL[num_candidates]):
            results.append(
                compiled("armijo", make)(
                    jnp.array(coefficients),
                    jnp.array([1.0, -1.0]),
                    jnp.array([-1.0, 0.5]),
                    first,
                    c,
                    jnp.array([shrink, 1.0]),
                    max_trials,
                )
            )
    sequential, parallel = results
    assert parallel[0] == sequential[0]
    assert parallel[1] == sequential[1]
    assert parallel[2] == sequential[2]


CONDITIONS_THAT_SHRINK = [
    optaxls.zhang_hager(0.3),
    optaxls.smoothed_armijo(0.3),
    pytest.param(optaxls.armijo(0.3), marks=pytest.mark.slow),
    pytest.param(optaxls.window_armijo(0.3), marks=pytest.mark.slow),
    pytest.param(optaxls.always_accept(), marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS_THAT_SHRINK)
def test_parallel_candidates_equal_backtracking_over_several_steps(condition):
    """Also the memories that a search leaves behind."""

    def train(search):
        rule = optaxls.grow(8.0, growth=1.7)
        tx = optaxls.scale_by_line_search(condition, rule, search)

        def step(carry, curvature):
            w, state = carry

            def loss(w):
                value = 0.5 * jnp.sum(curvature * w**2)
                return jnp.where(jnp.abs(w[0]) > 6, jnp.nan, value)

            value, grad = jax.value_and_grad(loss)(w)
            updates, state = tx.update(
                -grad, state, w, value=value, grad=grad, value_fn=loss
            )
            return (optax.apply_updates(w, updates), state), state

        w = jnp.array([1.0, -2.0])
        curvatures = jnp.array([[1.0, 3.0], [2.0, 1.0], [0.5, 4.0], [3.0, 3.0]])
        return jax.lax.scan(step, (w, tx.init(w)), curvatures)[1]

    sequential = train(optaxls.backtracking(0.7))
    parallel = train(optaxls.parallel_candidates(4, 0.7))
    assert sequential.num_trials.tolist() == parallel.num_trials.tolist()
    assert sequential.accepted.tolist() == parallel.accepted.tolist()
    for one, other in zip(
        jax.tree.leaves(sequential), jax.tree.leaves(parallel), strict=True
    ):
        assert jnp.allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_parity_with_optax(seed):
    """Same accepted step sizes as optax's search at equal settings."""
    scales = jnp.exp(jax.random.normal(jax.random.key(seed), (5,)))

    def loss(w):
        return jnp.sum(scales * w**2) + jnp.sum(w**4)

    theirs = optax.chain(
        optax.scale(-1.0),
        optax.scale_by_backtracking_linesearch(
            100, slope_rtol=0.2, decrease_factor=0.8, increase_factor=1.5
        ),
    )
    rule = optaxls.grow(1.0, growth=1.5, max_step_size=1.0)
    ours = optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(
            optaxls.armijo(0.2), rule, optaxls.backtracking(0.8)
        ),
    )

    def train(optimizer, key):
        def body(carry, _):
            w, state = carry
            value, grad = jax.value_and_grad(loss)(w)
            updates, state = optimizer.update(
                grad, state, w, value=value, grad=grad, value_fn=loss
            )
            return (optax.apply_updates(w, updates), state), optax.tree.get(state, key)

        with jax.enable_x64(True):
            w = jnp.linspace(-1.0, 2.0, 5)
            state = optimizer.init(w)
            state = jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype), state)
            return jax.lax.scan(body, (w, state), length=12)

    (their_w, _), their_steps = train(theirs, "learning_rate")
    (our_w, _), our_steps = train(ours, "step_size")
    assert len(set(our_steps.tolist())) > 3
    assert our_steps.tolist() == pytest.approx(their_steps.tolist(), rel=1e-9)
    assert our_w.tolist() == pytest.approx(their_w.tolist(), rel=1e-7)
