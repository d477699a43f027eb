"""The optimizer without a step size: what its parts are there for."""

# Optax types states and updates as unions of trees; their fields are known here.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false, reportOperatorIssue=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests import problems, test_training_faults
from tests.problems import GOOD, NON_FINITE


def minimise(optimizer, loss, w, num_steps):
    step = optaxls.make_step(loss, optimizer)

    def one(carry, _):
        result = step(*carry)
        return (result.params, result.opt_state), result.metrics["step_size"]

    run = jax.jit(lambda c: jax.lax.scan(one, c, length=num_steps))
    (w, _), steps = run((w, optimizer.init(w)))
    return w, steps


@pytest.mark.parametrize("fault", NON_FINITE)
def test_a_bad_batch_leaves_every_memory_as_it_was(fault):
    records = problems.run("auto", [GOOD] * 4 + [NON_FINITE[fault]])
    before, after = records[-2], records[-1]
    # What is reported of the step may change; the memories may not.
    for name in ("initial_step", "direction", "mean_grad_sqnorm", "num_seen"):
        kept = optax.tree.get(before["state"], name)
        jax.tree.map(
            np.testing.assert_array_equal, optax.tree.get(after["state"], name), kept
        )
    assert not any(leaf.any() for leaf in jax.tree.leaves(after["updates"]))


def test_no_network_of_relus_dies():
    """16 seeds; before steps were braked, 5 of them ended at a loss above 2."""
    images, labels = map(jnp.asarray, test_training_faults.digits())
    loss = test_training_faults.loss
    rng = np.random.default_rng(0)
    order = [[rng.permutation(640) for _ in range(30)] for _ in range(16)]
    batches = jnp.asarray(np.reshape(order, (16, 300, 64)))
    optimizer = optaxls.auto()
    step = optaxls.make_step(loss, optimizer)

    def train(seed, rows):
        def one(carry, row):
            result = step(*carry, images[row], labels[row])
            return (result.params, result.opt_state), None

        params = test_training_faults.init(jax.random.key(seed))
        (params, _), _ = jax.lax.scan(one, (params, optimizer.init(params)), rows)
        return loss(params, images, labels)

    ends = jax.jit(jax.vmap(train))(jnp.arange(16), batches)
    assert jnp.max(ends) < 1e-3


DIRECTIONS = {
    "gradient": optax.identity,
    "heavy ball": functools.partial(optax.trace, 0.9),
    "sign": optax.scale_by_sign,
    "lion": optax.scale_by_lion,
    "rms": optax.scale_by_rms,
    "adam": lambda: None,
}


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_any_direction_in_any_unit_reaches_the_solution(name, unit):
    """Least squares; ``unit`` rescales the weights, as a badly chosen unit would."""
    rows, targets, _ = problems.least_squares(40, 8)

    def loss(w):
        return jnp.mean((rows @ (w / unit) - targets) ** 2)

    start = loss(jnp.zeros(8))
    w, _ = minimise(optaxls.auto(DIRECTIONS[name]()), loss, jnp.zeros(8), 600)
    assert loss(w) < 1e-4 * start


def test_weight_decay_comes_to_rest_where_the_regularised_loss_does():
    decay = 0.5
    for scale in (0.1, 10.0):
        w, steps = minimise(
            optaxls.auto(optax.identity(), weight_decay=decay * scale),
            lambda w, s=scale: s * 0.5 * jnp.sum((w - 1) ** 2),
            jnp.zeros(3),
            400,
        )
        np.testing.assert_allclose(w, 1 / (1 + decay), rtol=0.01)
        assert steps[-1] > 0
