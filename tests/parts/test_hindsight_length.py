"""The limit of ``hindsight`` on the length of a step."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls


def along_ones(w, gradients, values):
    """Of limited steps: relative lengths, and lengths as the limit counts them."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(max_relative_length=0.01))

    def step(carry, batch):
        w, state = carry
        g, value = batch
        updates, state = tx.update(-jnp.ones(1000), state, w, value=value, grad=g)
        length = jnp.linalg.norm(updates)
        aligned = jnp.sum(g) / jnp.linalg.norm(g) / math.sqrt(1000)
        free = (1 + state.initial_step.climb) * (1 - aligned)
        return (w + updates, state), (jnp.linalg.norm(w), length, length * free)

    run = jax.jit(lambda batches: jax.lax.scan(step, (w, tx.init(w)), batches)[1])
    return run((gradients, values))


@pytest.mark.slow
def test_a_limited_step_is_short_where_batches_disagree_and_free_where_they_agree():
    """The direction stays; noise hides the gradient, or there is none."""
    rng = np.random.default_rng(0)
    noise = 100 * rng.standard_normal((40, 1000))
    # Losses so different that any step is plausible.
    values = 1e4 * rng.standard_normal(40)
    params, lengths, bounded = along_ones(jnp.ones(1000), 1 + noise, values)
    plain_params, plain, _ = along_ones(jnp.ones(1000), np.ones((40, 1000)), values)
    plain = plain / plain_params
    # Without noise steps grow. The first step that descends is 6 % of the params.
    assert plain[0] == pytest.approx(0.06, rel=1e-4) and jnp.max(plain) > 0.1
    later = np.flatnonzero(lengths)[1:]
    assert len(later) > 20
    bounded = (bounded / params)[later]
    np.testing.assert_array_less(bounded, 0.01 * (1 + 1e-4))
    assert jnp.max(bounded) > 0.0099
    # From 0 no share of the params would lead anywhere: 0.001 of each is allowed.
    _, lengths, bounded = along_ones(jnp.zeros(1000), 1 + noise, values)
    later = np.flatnonzero(lengths)[1:]
    limit = 1e-3 * math.sqrt(1000)
    np.testing.assert_array_less(bounded[later], limit * (1 + 1e-4))
    assert jnp.max(bounded[later]) > 0.99 * limit
