"""The bigram problem against direct sums over its pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk.problems_text import bigrams


@pytest.fixture(scope="module")
def problem():
    return bigrams(vocabulary=40)


@pytest.fixture(scope="module")
def logits(problem):
    return jax.random.normal(jax.random.key(0), problem.counts.shape)


@pytest.mark.slow
def test_the_loss_from_counts_is_the_loss_of_all_pairs(problem, logits):
    every = jnp.arange(len(problem.previous))
    full = problem.full_loss(logits)
    np.testing.assert_allclose(full, problem.batch_loss(logits, every), rtol=1e-5)
    np.testing.assert_allclose(
        problem.excess(logits), full - problem.floor(), rtol=1e-5
    )


def test_unknown_words_are_dropped(problem):
    assert problem.previous.min() > 0 and problem.following.min() > 0
    assert problem.counts.sum() == len(problem.previous)


@pytest.mark.slow
def test_the_floor_is_the_entropy_and_reached_by_the_frequencies(problem):
    known = problem.counts[problem.counts.sum(1) > 0]
    best = np.where(problem.counts > 0, problem.log_likelihood(), -100.0)
    assert problem.excess(best) == pytest.approx(0, abs=1e-9)
    shares = known / known.sum()
    inner = shares[shares > 0]
    words = shares.sum(1)
    entropy = -np.sum(inner * np.log(inner)) + np.sum(words * np.log(words))
    assert problem.floor() == pytest.approx(entropy, rel=1e-5)
    gradient = jax.grad(problem.full_loss)(jnp.asarray(best, jnp.float32))
    assert float(jnp.abs(gradient).max()) < 1e-6


def test_the_losses_of_words_average_to_the_loss(problem, logits):
    share = problem.counts.sum(0) / problem.counts.sum()
    told = np.nansum(share * problem.loss_of_words(logits))
    assert told == pytest.approx(float(problem.full_loss(logits)), rel=1e-5)
    floor = np.nansum(share * problem.floor_of_words())
    assert floor == pytest.approx(problem.floor(), rel=1e-6)


def test_a_run_that_diverged_has_infinite_excess(problem):
    assert problem.excess(np.full(problem.counts.shape, np.nan)) == np.inf
