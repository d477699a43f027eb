"""Per-example gradients against NumPy, and what a sample says of its population."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from optaxls.diagnostics import gradient_sample

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((10, 3)), RNG.standard_normal(10)
W = RNG.standard_normal(3)
GRADS = (X @ W - Y)[:, None] * X
assert_close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)


def squared_error(params, example):
    x, y = example
    return 0.5 * (x @ params["w"] - y) ** 2


def sample(chunk_size, **more):
    params = {"w": jnp.asarray(W, jnp.float32), "frozen": jnp.arange(2)}
    data = (jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32))
    return jax.jit(
        lambda p, d: gradient_sample(squared_error, p, d, chunk_size=chunk_size, **more)
    )(params, data)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [1, 4, 5, 10, 64])
def test_the_numbers_are_those_of_numpy(chunk_size):
    """Also where the last chunk is not full, and beside a frozen integer leaf."""
    found = sample(chunk_size)
    mean = GRADS.mean(0)
    assert_close(found.values, 0.5 * (X @ W - Y) ** 2)
    assert_close(found.squared_norms, (GRADS**2).sum(1))
    noise = np.linalg.norm(GRADS - mean, axis=1)
    np.testing.assert_allclose(found.noise_norms, noise, rtol=1e-3, atol=1e-3)
    assert_close(found.mean_squared_norm, (GRADS**2).sum(1).mean())
    assert_close(found.squared_mean_norm, mean @ mean)


def test_left_out_is_the_sample_without_a_chunk():
    found = sample(5)
    for chunk in range(2):
        # Chunks are strided: every second example.
        rest = np.delete(GRADS, np.arange(chunk, 10, 2), axis=0)
        mean = rest.mean(0)
        np.testing.assert_allclose(
            found.left_out[:, chunk],
            [(rest**2).sum(1).mean(), mean @ mean],
            rtol=1e-4,
        )


@pytest.mark.slow
def test_squared_mean_norm_is_unbiased_for_the_population():
    """Over all samples of 4 among 7 its mean is exactly that of the 7."""
    population = RNG.standard_normal((7, 3))

    def one(rows):
        return gradient_sample(
            lambda w, x: w @ x, jnp.zeros(3), population[rows], population=7
        ).squared_mean_norm

    rows = jnp.array(list(combinations(range(7), 4)))
    population = jnp.asarray(population + 3)  # away from 0, where it is cut
    mean = population.mean(0)
    np.testing.assert_allclose(jax.vmap(one)(rows).mean(), mean @ mean, rtol=1e-5)
    whole = gradient_sample(lambda w, x: w @ x, jnp.zeros(3), population)
    np.testing.assert_allclose(whole.squared_mean_norm, mean @ mean, rtol=1e-5)


def test_memory_is_that_of_a_chunk():
    """512 gradients of 20,000 numbers, 4 at a time: not 40 MB."""

    def loss(w, x):
        return jnp.tanh(w @ x).sum()

    w, data = jnp.zeros((200, 100)), jnp.ones((512, 100))
    compiled = jax.jit(
        lambda w, data: gradient_sample(loss, w, data, chunk_size=4)
    ).lower(w, data)
    memory = compiled.compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 12 * w.nbytes + data.nbytes


@pytest.mark.slow
def test_bfloat16_params_are_summed_in_float32():
    params = {"w": jnp.asarray(W, jnp.bfloat16), "frozen": jnp.arange(2)}
    found = gradient_sample(
        lambda p, e: squared_error(p, e).astype(jnp.float32),
        params,
        (jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)),
    )
    assert found.mean_squared_norm.dtype == jnp.float32
    np.testing.assert_allclose(
        found.mean_squared_norm, (GRADS**2).sum(1).mean(), rtol=0.05
    )


@pytest.mark.slow
def test_complex_params():
    """Norms and noise are those of the pairs of real and imaginary parts."""
    points = jnp.array([1 + 2j, -1j, 3 + 0j, 2 - 2j], jnp.complex64)

    def loss(z, point):
        return 0.5 * jnp.abs(z - point) ** 2

    def real_loss(w, point):
        return 0.5 * jnp.sum((w - point) ** 2)

    found = gradient_sample(loss, jnp.asarray(1 + 1j), points, chunk_size=2)
    pairs = jnp.stack([points.real, points.imag], 1)
    expected = gradient_sample(real_loss, jnp.ones(2), pairs, chunk_size=2)
    for name, number in expected._asdict().items():
        assert_close(getattr(found, name), number, err_msg=name)


def test_examples_stay_sharded_on_an_explicit_mesh():
    """Four devices that need not exist: the types alone say what happens."""
    mesh = AbstractMesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.sharding.use_abstract_mesh(mesh):
        rows = NamedSharding(mesh, PartitionSpec("data"))
        data = (
            jax.ShapeDtypeStruct((128, 3), jnp.float32, sharding=rows),
            jax.ShapeDtypeStruct((128,), jnp.float32, sharding=rows),
        )
        found = jax.eval_shape(
            partial(gradient_sample, squared_error, chunk_size=16), {"w": W}, data
        )
    assert found.values.sharding.spec == PartitionSpec("data")


@pytest.mark.parametrize(
    "data, more, complaint",
    [
        (jnp.ones((1, 3)), {}, "data must have >= 2 examples, got 1"),
        (
            (jnp.ones(3), jnp.ones(4)),
            {},
            r"as many examples each, got 3 \(data\[0\]\), 4 \(data\[1\]\)",
        ),
        ({}, {}, "data must hold arrays of examples, got none"),
        (
            {"x": jnp.ones(3), "rate": 0.1},
            {},
            r"data\['rate'\] must have a leading axis of examples, got a scalar",
        ),
        (jnp.ones((5, 3)), {"chunk_size": 0}, "chunk_size must be an integer >= 1"),
        (jnp.ones((5, 3)), {"population": 4}, "population must be an integer >= 5"),
    ],
)
def test_refusals(data, more, complaint):
    with pytest.raises(ValueError, match=complaint):
        gradient_sample(lambda w, x: w, jnp.ones(()), data, **more)
