"""Hill's estimate of known tails."""

import jax
import jax.numpy as jnp
import pytest

from optaxls.diagnostics import tail_index


@pytest.mark.parametrize("index", [0.7, 1.5, 3.0])
def test_hill_covers_the_index_of_pareto_draws(index):
    u = jax.random.uniform(jax.random.key(1), (40, 2000), minval=1e-7)
    found = jax.vmap(tail_index)(u ** (-1 / index))
    inside = (found.low <= index) & (index <= found.high)
    assert inside.sum() >= 34


def test_light_tails_have_large_indices():
    norms = jnp.linalg.norm(jax.random.normal(jax.random.key(2), (2000, 50)), axis=1)
    assert tail_index(norms).low > 10


def test_refusals():
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), got 1"):
        tail_index(jnp.ones(100), 1.0)
    with pytest.raises(ValueError, match="share must leave >= 2 of the 10 norms"):
        tail_index(jnp.ones(10), 0.1)
    with pytest.raises(ValueError, match=r"norms must have one axis .* \(10, 3\)"):
        tail_index(jnp.ones((10, 3)))
