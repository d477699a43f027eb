"""The tasks that nothing was chosen on: are they what they say?"""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from examples.benchmark import new_tasks, transfer_tasks


def test_losses_of_new_tasks_are_those_of_their_names():
    """Ratios need a loss that is never negative, and the floor of 0 or of the noise."""
    rates, counts = jnp.array([[0.5, 1.0, 4.0]]), jnp.array([[0.0, 1.0, 3.0]])
    expected = -scipy.stats.poisson.logpmf(counts, rates).mean()
    found = new_tasks.poisson(jnp.log(rates), counts)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    # The minimizer of the pinball loss is the quantile: nine of ten lie below it.
    sample = jnp.arange(100.0)[:, None]
    guesses = jnp.arange(0.0, 100.0, 0.5)
    means = [
        jnp.mean(new_tasks.pinball(jnp.full_like(sample, g), sample)) for g in guesses
    ]
    assert 89 <= guesses[np.argmin(means)] <= 90
    assert new_tasks.huber(jnp.array([[3.0]]), jnp.array([[0.0]])) == 2.5
    factors = new_tasks.Factors((2, 2), 2)
    params = {
        "rows": {"embedding": jnp.eye(2)},
        "columns": {"embedding": 2 * jnp.eye(2)},
    }
    pairs = jnp.array([[0, 0], [0, 1]])
    products = jnp.asarray(factors.apply({"params": params}, pairs))
    assert products.tolist() == [[2.0], [0.0]]


def test_new_tasks_have_the_noise_that_they_tell_of():
    split = new_tasks.overlap()
    x, y = (np.concatenate(parts) for parts in (split[0::2], split[1::2]))
    assert abs(np.mean((x[:, 0] > 1) != y) - scipy.stats.norm.cdf(-1)) < 0.03
    entries = new_tasks.ratings()
    assert len(entries.x_train) + len(entries.x_test) == pytest.approx(2400, rel=0.05)
    assert new_tasks.digit_values().y_train.max() == 9
    assert new_tasks.spirals().y_train.mean() == pytest.approx(0.5, abs=0.02)


def test_new_tasks_meet_the_whole_grid():
    variants = transfer_tasks.variants()
    for name in new_tasks.NEW_TASKS:
        names = [c.name for c in variants[f"new-{name}"].contenders]
        assert names == ["sgd", "adam", "auto", "prodigy"]
        sizes = [len(c.step_sizes) for c in variants[f"new-{name}"].contenders]
        assert sizes == [11, 11, 1, 1]
