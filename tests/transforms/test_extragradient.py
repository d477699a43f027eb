"""Extragradient: closed forms on a quadratic, and how many gradients it takes."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls


def step(curvature=1.0, w=1.0, first=1.0, c=0.5, grad_fn=None, value=0.5):
    tx = optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_extragradient(
            optaxls.constant(first), optaxls.backtracking(0.5), c=c
        ),
    )
    w = jnp.array([w])
    calls = []

    def gradient(at):
        calls.append(at)
        return curvature * at if grad_fn is None else grad_fn(at)

    grad = curvature * w
    updates, state = tx.update(
        grad, tx.init(w), w, value=jnp.array(value), grad=grad, grad_fn=gradient
    )
    return updates, optaxls.metrics(state), calls


@pytest.mark.parametrize("curvature", [0.25, 1.0, 8.0])
def test_it_accepts_up_to_c_over_the_curvature(curvature):
    """eta L <= c, and w+ = (1 - eta L (1 - eta L)) w."""
    for first, expected in ((0.5 / curvature, 0.5), (0.51 / curvature, 0.255)):
        updates, report, _ = step(curvature, first=first)
        scaled = float(report["step_size"]) * curvature
        assert scaled == pytest.approx(expected)
        assert float(updates[0]) == pytest.approx(-scaled * (1 - scaled))


def test_it_takes_one_gradient_per_trial_and_one_more():
    _, report, calls = step(curvature=4.0)
    assert report["num_trials"] == 4 and report["step_size"] == 0.125
    assert len(calls) == 5


def test_the_reported_value_is_the_loss():
    assert step(value=0.75)[1]["value"] == 0.75


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_never_finite_moves_nothing(bad):
    updates, report, _ = step(grad_fn=lambda at: at * bad)
    assert updates[0] == 0 and report["step_size"] == 0 and not report["accepted"]


def test_a_gradient_that_always_changes_too_much_moves_nothing():
    """The fallback is held to the same test: the gradient there is known anyway."""
    updates, report, calls = step(grad_fn=lambda at: at + 100.0)
    assert not report["accepted"] and len(calls) == 102
    assert updates[0] == 0 and report["step_size"] == 0


def test_the_fallback_is_taken_where_the_gradient_changes_little():
    """Every trial is too long, the fallback itself is not."""
    tx = optaxls.scale_by_extragradient(
        optaxls.constant(1.0), optaxls.backtracking(0.5, max_trials=3)
    )
    w = jnp.array([1.0])
    updates, state = tx.update(
        -w,
        tx.init(w),
        w,
        value=jnp.array(0.5),
        grad=w,
        grad_fn=lambda at: jnp.where(jnp.abs(at - 1) < 1e-3, at, at + 100.0),
    )
    assert not state.accepted and state.step_size == jnp.float32(1e-6)
    assert float(updates[0]) == pytest.approx(-1e-6, rel=1e-3)


def test_grad_fn_may_be_any_gradient_of_the_same_batch():
    """A saddle x y: plain descent-ascent spirals out, extragradient goes in."""

    def field(z):
        return jnp.array([z[1], -z[0]])

    tx = optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_extragradient(optaxls.constant(1.0), c=0.5),
    )

    def body(z, _):
        g = field(z)
        given = {"value": jnp.array(0.0), "grad": g, "grad_fn": field}
        updates, _ = tx.update(g, tx.init(z), z, **given)
        return optax.apply_updates(z, updates), ()

    z, _ = jax.lax.scan(body, jnp.array([1.0, 0.0]), length=60)
    assert jnp.linalg.norm(z) < 1e-2


@pytest.mark.slow
def test_it_solves_least_squares():
    rows = jax.random.normal(jax.random.key(0), (30, 4))

    def loss(w):
        return 0.5 * jnp.mean((rows @ (w - 1.0)) ** 2)

    optimizer = optaxls.sls_extragradient(steps_per_epoch=1)
    train = jax.jit(optaxls.make_step(loss, optimizer))
    w = jnp.zeros(4)
    state = optimizer.init(w)
    for _ in range(80):
        w, state, *_ = train(w, state)
    assert jnp.allclose(w, 1.0, atol=1e-3)
