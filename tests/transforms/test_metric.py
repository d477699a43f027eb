"""A metric: params u = A w with their own length make the trajectory of w."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls

A = jnp.array([0.25, 1.0, 8.0])
GOAL = jnp.array([1.0, -2.0, 0.5])


def loss(w):
    return 0.5 * jnp.sum(jnp.array([1.0, 3.0, 10.0]) * (w - GOAL) ** 2)


def own_length(params, displacement):
    del params
    return jnp.sum((displacement / A) ** 2)


RULES = {
    "hindsight": lambda metric: optaxls.scale_by_initial_step(
        # Without it the first step depends on the length of the params.
        optaxls.hindsight(initial_step_size=0.05),
        metric=metric,
    ),
    "searched": lambda metric: optaxls.scale_by_line_search(
        optaxls.armijo(0.3), optaxls.constant(0.5), metric=metric
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_transformed_params_make_the_same_steps(rule):
    """``w`` goes along minus its gradient, and u = A w along A times that."""
    plain, bent = RULES[rule](None), RULES[rule](own_length)
    w, state = jnp.array([3.0, 1.0, -1.0]), plain.init(GOAL)
    u, bent_state = A * w, bent.init(GOAL)
    for _ in range(12):
        value, grad = jax.value_and_grad(loss)(w)
        updates, state = plain.update(
            -grad, state, w, value=value, grad=grad, value_fn=loss
        )
        w = optax.apply_updates(w, updates)
        transformed = lambda u: loss(u / A)  # noqa: E731
        value, grad = jax.value_and_grad(transformed)(u)
        updates, bent_state = bent.update(
            -(A**2) * grad,
            bent_state,
            u,
            value=value,
            grad=grad,
            value_fn=transformed,
        )
        u = optax.apply_updates(u, updates)
        assert jnp.allclose(jnp.asarray(u) / A, w, rtol=1e-3, atol=1e-4)
        assert bent_state.step_size == pytest.approx(float(state.step_size), rel=1e-3)
