import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples.talk.sweeps import sweep


def loss(w, _=None):
    return 0.5 * jnp.sum(w**2)


def swept(rates, every=1):
    return sweep(
        optax.sgd, rates, loss, jnp.ones(3), np.zeros(4), full_loss=loss, every=every
    )


def test_every_rate_runs_as_if_alone():
    rates = np.array([0.1, 0.5, 2.5])
    found = swept(rates, every=2)
    expected = 1.5 * (1 - rates[:, None]) ** (2 * np.array([0, 2, 4]))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    np.testing.assert_allclose(found.params[:, 0], (1 - rates) ** 4, rtol=1e-5)
    assert found.best == 1 and not found.best_at_the_edge
    np.testing.assert_allclose(found.best_params, 0.5**4 * np.ones(3), rtol=1e-5)


def test_runs_up_to_a_rate_and_the_edge():
    found = swept([0.1, 0.3, 0.5])
    assert found.best_at_the_edge
    kept = found.up_to(0.3)
    assert list(kept.rates) == [0.1, 0.3] and kept.loss.shape == (2, 5)


def test_a_run_that_diverged_is_never_the_best():
    found = swept([0.1, 1e30])
    assert found.best == 0 and found.final[1] == np.inf


def test_records_must_divide_the_steps():
    with pytest.raises(ValueError, match="must divide the 4 steps, not be 3"):
        swept([0.1], every=3)
