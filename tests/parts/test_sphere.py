"""The path on which matrices keep their length."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from optaxls._engine.origin import make_origin

PATH = optaxls.along_sphere()


def displaced(w, d, step_size, grad=None):
    grad = jax.tree.map(lambda leaf: -leaf, d) if grad is None else grad
    return PATH.displace(make_origin(w, grad, d, 1.0), jnp.asarray(step_size))


def reference(w, d, step_size):
    """``r (w + step_size d) / ||w + step_size d|| - w`` in float64."""
    w, d = np.asarray(w, np.complex128), np.asarray(d, np.complex128)
    far = w + step_size * d
    return np.linalg.norm(w) * far / np.linalg.norm(far) - w


def test_a_direction_across_turns_by_the_angle_of_its_tangent():
    w, d = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 2.0]])
    updates = displaced(w, d, np.tan(0.5)).updates
    np.testing.assert_allclose(w + updates, [[2 * np.cos(0.5), 2 * np.sin(0.5)]], 1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), log=st.floats(-7, 1), imaginary=st.booleans())
def test_it_is_the_formula_to_float32_for_steps_of_any_length(seed, log, imaginary):
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    w, d = parts[0] + 1j * imaginary * parts[1][::-1], parts[1]
    if not imaginary:
        w = np.real(w)
    w = w.astype(np.complex64 if imaginary else np.float32)
    d, step_size = d.astype(w.dtype), np.float32(10**log)
    found, wanted = displaced(w, d, step_size).updates, reference(w, d, step_size)
    # A difference of two rounded points has an error of 1e-7 of w: the shortest update.
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    assert error < 3e-6


def test_what_the_displacement_tells_is_true_of_its_updates():
    w = {"m": jnp.arange(1.0, 7.0).reshape(2, 3), "v": jnp.array([1.0, -1.0])}
    d = {"m": jnp.ones((2, 3)), "v": jnp.array([0.5, 2.0])}
    grad = {"m": -jnp.arange(6.0).reshape(2, 3), "v": jnp.array([1.0, 0.0])}
    updates, change, sqdistance = displaced(w, d, 0.3, grad)
    # Leaves with fewer than two axes move along the straight line.
    np.testing.assert_allclose(updates["v"], [0.15, 0.6], rtol=1e-6)
    dot = sum(np.vdot(grad[k], updates[k]) for k in w)
    np.testing.assert_allclose(change, dot, rtol=1e-6)
    square = sum(np.vdot(updates[k], updates[k]) for k in w)
    np.testing.assert_allclose(sqdistance, square, rtol=1e-6)
    promised = PATH.predicted_slope(make_origin(w, grad, d, 1.0), jnp.asarray(0.3))
    np.testing.assert_allclose(promised, dot / 0.3, rtol=1e-6)


@pytest.mark.parametrize(
    "w, d, wanted",
    [
        ([[0.0, 0.0]], [[3.0, 4.0]], [[1.5, 2.0]]),
        # The end of this step is 0, where there is no direction.
        ([[1.0, -2.0]], [[-2.0, 4.0]], [[0.0, 0.0]]),
        # Along the matrix there is nowhere to go.
        ([[1.0, -2.0]], [[3.0, -6.0]], [[0.0, 0.0]]),
        # Beyond 0 the sign changes.
        ([[1.0, -2.0]], [[-4.0, 8.0]], [[-2.0, 4.0]]),
    ],
)
def test_where_a_matrix_or_the_end_of_its_step_is_zero(w, d, wanted):
    found = displaced(jnp.array(w), jnp.array(d), 0.5).updates
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# In bfloat16 rounding swallows the small part of a step that leads inwards.
@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype, slack",
    [(jnp.float32, 1e-5), (jnp.bfloat16, 0.25)],
)
def test_matrices_keep_their_lengths_for_a_whole_run(dtype, slack):
    """On batches that disagree, so that the steps stay long."""
    direction = optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio())
    optimizer = optaxls.auto(direction, path=PATH)
    w = jax.random.normal(jax.random.key(0), (4, 3, 2)).astype(dtype)

    def loss(w, target):
        return jnp.sum((w.astype(jnp.float32) - target) ** 2)

    step = optaxls.make_step(loss, optimizer)

    def one(carry, key):
        result = step(*carry, jax.random.normal(key, w.shape) + 1.0)
        return (result.params, result.opt_state), None

    run = jax.jit(lambda carry, keys: jax.lax.scan(one, carry, keys)[0])
    keys = jax.random.split(jax.random.key(1), 500)
    end, state = run((w, optimizer.init(w)), keys)
    first, last = (jnp.linalg.norm(v.astype(jnp.float32)) for v in (w, end))
    assert abs(last / first - 1) < slack
    # The best point of the sphere is the mean of the targets, at its length.
    average = optaxls.eval_params(state, end).astype(jnp.float32)
    cosine = jnp.sum(average) / jnp.linalg.norm(average) / jnp.sqrt(average.size)
    assert cosine > 0.95


def test_a_search_takes_a_step_that_the_straight_line_would_not():
    """At the best length only the direction is wrong: each step is a turn."""
    goal = jnp.array([[0.0, 1.0]])
    w, value_fn = jnp.array([[1.0, 0.0]]), lambda w: jnp.sum((w - goal) ** 2)
    value, grad = jax.value_and_grad(value_fn)(w)
    for path, length in ((PATH, 1.0), (optaxls.along_direction, 0.5**0.5)):
        result = optaxls.line_search(
            value_fn, w, -grad, value=value, grad=grad, condition=optaxls.armijo(0.5),
            initial_step=optaxls.constant(0.25), path=path,
        )  # fmt: skip
        assert bool(result.accepted)
        np.testing.assert_allclose(jnp.linalg.norm(result.params), length, rtol=1e-6)
