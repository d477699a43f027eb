"""The talk's two forms of momentum, after any step-size rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

CURVATURES = np.array([1.0, 4.0, 0.3])
START = np.array([1.0, -0.5, 2.0])


def ran(momentum, steps=8):
    """Params and step sizes of a searched run, whose step sizes vary."""
    optimizer = optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(
            optaxls.armijo(0.5), optaxls.grow(0.1, 1.3), optaxls.backtracking(0.5)
        ),
        momentum,
    )
    step = jax.jit(
        optaxls.make_step(lambda w: jnp.asarray(CURVATURES) @ w**2 / 2, optimizer)
    )
    w = jnp.asarray(START, jnp.float32)
    state, found, sizes = optimizer.init(w), [np.asarray(w)], []
    for _ in range(steps):
        w, state, *_, report = step(w, state)
        found.append(np.asarray(w))
        sizes.append(float(report["step_size"]))
    assert len(set(sizes)) > 3
    return found, sizes


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.4])
@pytest.mark.parametrize("form", ["heavy_ball", "nesterov"])
def test_it_is_the_recursion_of_the_talk(form, beta):
    """Nesterov's form adds beta (u_k - u_{k-1}) to the heavy ball's, u the step."""
    found, sizes = ran(getattr(optaxls, form)(beta))
    before, w, last = START, START, np.zeros(3)
    for step_size, after in zip(sizes, found[1:], strict=True):
        u = -step_size * CURVATURES * w
        correction = beta * (u - last) if form == "nesterov" else 0.0
        before, w = w, w + u + beta * (w - before) + correction
        last = u
        np.testing.assert_allclose(after, w, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_sls_with_momentum_is_a_search_and_then_momentum():
    for variant, form in (("polyak", "heavy_ball"), ("nesterov", "nesterov")):
        theirs = optaxls.sls_momentum(variant=variant, momentum=0.6)
        ours = optax.chain(
            optax.scale(-1.0),
            optaxls.scale_by_line_search(
                optaxls.armijo(0.1), optaxls.grow(1.0, 1.0), optaxls.backtracking(0.9)
            ),
            getattr(optaxls, form)(0.6),
        )
        ends = []
        for optimizer in (theirs, ours):
            step = optaxls.make_step(lambda w: jnp.sum(w**4) + jnp.sum(w**2), optimizer)
            w = jnp.asarray(START, jnp.float32)
            carry = (w, optimizer.init(w))
            for _ in range(4):
                carry = jax.jit(step)(*carry)[:2]
            ends.append(carry[0])
        np.testing.assert_allclose(*ends, rtol=1e-6)


@pytest.mark.parametrize("form", ["heavy_ball", "nesterov"])
def test_it_asks_for_the_loss_that_it_reads(form):
    tx = getattr(optaxls, form)()
    with pytest.raises(TypeError, match=rf"{form}: update\(\) needs 'value'"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
