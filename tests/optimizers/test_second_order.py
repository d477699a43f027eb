"""Second-order steps where all can be fit: set-ups that the talk does not have.

A squared hinge on separable data, whose Hessian changes its rank from step to step, and
a tanh network with Gauss-Newton products; both in float32, from the public interface.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls

EXAMPLES, BATCH = 512, 64
METHODS = {
    "sls": functools.partial(optaxls.sls, steps_per_epoch=EXAMPLES / BATCH),
    "newton": optaxls.newton,
    "hessian_free": optaxls.hessian_free,
    "adapted": lambda: optaxls.hessian_free(damping=optaxls.adapted_damping(1.0)),
}


def batches(steps):
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(EXAMPLES)[:BATCH] for _ in range(steps)])


def separable():
    """Margins of at least 1 for some weights; two columns are far smaller."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4 * EXAMPLES, 8)) * np.geomspace(1, 0.05, 8)
    y = x @ rng.standard_normal(8)
    far = np.argsort(-np.abs(y))[:EXAMPLES]
    return x[far].astype(np.float32), np.sign(y[far]).astype(np.float32)


def hinge(w, x, y):
    return jnp.mean(jnp.maximum(1 - y * (x @ w), 0) ** 2)


def network(p, x):
    return jnp.tanh(x @ p["a"] + p["b"]) @ p["c"]


def start(seed, size):
    rng = np.random.default_rng(seed)
    a, c = rng.standard_normal((4, size)) / 2, rng.standard_normal((size, 1))
    params = {"a": a, "b": np.zeros(size), "c": c / np.sqrt(size)}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


def distance(z, y):
    return jnp.mean((z - y) ** 2)


def regression(p, x, y):
    return distance(network(p, x), y)


def predictions(p, x, y):
    return {
        "predict_fn": lambda p: network(p, x),
        "prediction_loss_fn": lambda z: distance(z, y),
    }


def ends(loss, params, x, y, steps, extra=None):
    """The loss of all examples after ``steps``, for each method."""
    found = {}
    for name, make in METHODS.items():
        optimizer = make()
        step = optaxls.make_step(loss, optimizer, extra=extra)

        def body(carry, rows, step=step):
            result = step(*carry, *(jnp.asarray(a)[rows] for a in (x, y)))
            return (result.params, result.opt_state), result.metrics["num_trials"]

        run = jax.jit(functools.partial(jax.lax.scan, body))
        (end, _), _ = run((params, optimizer.init(params)), batches(steps))
        found[name] = float(loss(end, x, y))
    return found


@pytest.mark.slow
def test_separable_data_with_a_squared_hinge():
    found = ends(hinge, jnp.zeros(8), *separable(), steps=30)
    assert found["sls"] < 1e-2
    for name in ("newton", "hessian_free", "adapted"):
        assert found[name] <= 1e-4 * found["sls"], found


@pytest.mark.long
def test_a_tanh_network_that_can_fit_another_one():
    """Measured: 7e-12, 4e-3 and 5e-3 of the loss of SLS."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((EXAMPLES, 4)).astype(np.float32)
    teacher = jax.tree.map(lambda leaf: 2 * leaf, start(0, 4))
    y = np.asarray(network(teacher, x))
    found = ends(regression, start(1, 10), x, y, 60, predictions)
    assert found["newton"] <= 1e-6 * found["sls"], found
    for name in ("hessian_free", "adapted"):
        assert found[name] <= 0.05 * found["sls"], found
