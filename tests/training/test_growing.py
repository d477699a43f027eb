"""Batches that grow, and the damping to each, against NumPy."""

import jax
import numpy as np
import pytest

import optaxls


def test_sizes_grow_to_all_examples_and_the_damping_falls_with_their_root():
    batches = optaxls.growing_batches(100, 1.5, dataset_size=4000, damping=0.2)
    steps = range(14)
    sizes = [batches.batch_size(step) for step in steps]
    wanted = np.minimum(100 * 1.5 ** np.arange(14), 4000)
    assert sizes == wanted.astype(int).tolist() and isinstance(sizes[3], int)
    jitted = jax.jit(batches.damping)
    dampings = [float(jitted(step)) for step in steps]
    np.testing.assert_allclose(dampings, 0.2 * np.sqrt(100 / wanted), rtol=1e-5)


def test_a_long_run_does_not_overflow():
    batches = optaxls.growing_batches(7, 2.0, dataset_size=1000)
    assert batches.batch_size(10**6) == 1000
    assert float(batches.damping(2**31 - 1)) == pytest.approx(
        1e-3 * (7 / 1000) ** 0.5, rel=1e-5
    )


def test_a_constant_size_and_a_batch_larger_than_the_data():
    constant = optaxls.growing_batches(7, 1.0, dataset_size=10)
    assert [constant.batch_size(step) for step in (0, 1, 99)] == [7, 7, 7]
    assert optaxls.growing_batches(20, dataset_size=10).batch_size(0) == 10
