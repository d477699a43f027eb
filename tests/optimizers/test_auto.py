"""The optimizer without a step size: what its parts are there for."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests import problems
from tests.faults import test_bad_batches_in_training as test_training_faults
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


DIRECTIONS = {
    "gradient": optax.identity,
    "heavy ball": functools.partial(optax.trace, 0.9),
    "sign": optax.scale_by_sign,
    "lion": optax.scale_by_lion,
    "rms": optax.scale_by_rms,
    "adam": lambda: None,
}


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize(
    "name, bound", [("heavy ball", 5e-3), ("adam", 1e-3), ("lion", 1e-3)]
)
def test_no_network_of_relus_dies(name, bound):
    """16 seeds; before steps were braked, 5 of them ended at a loss above 2.

    Along heavy ball two did, and Lion ended at up to 0.4, before the length was limited
    along directions that are given.
    """
    images, labels = map(jnp.asarray, test_training_faults.digits())
    loss = test_training_faults.loss
    rng = np.random.default_rng(0)
    order = [[rng.permutation(640) for _ in range(30)] for _ in range(16)]
    batches = jnp.asarray(np.reshape(order, (16, 300, 64)))
    optimizer = optaxls.auto(DIRECTIONS[name]())
    step = optaxls.make_step(loss, optimizer)

    def train(seed, rows):
        def one(carry, row):
            result = step(*carry, images[row], labels[row])
            return (result.params, result.opt_state), None

        params = test_training_faults.init(jax.random.key(seed))
        carry = params, optimizer.init(params)
        (params, state), _ = jax.lax.scan(one, carry, rows)
        return loss(optaxls.eval_params(state, params), images, labels)

    ends = jax.jit(jax.vmap(train))(jnp.arange(16), batches)
    assert jnp.max(ends) < bound


@pytest.mark.slow(one_in=4)
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


@pytest.mark.slow
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


def steps_of(optimizer, loss_fn, w, batches):
    """Values, step sizes and trials, a batch a step; and where the params end."""
    step = jax.jit(optaxls.make_step(loss_fn, optimizer))
    state, told = optimizer.init(w), []
    for batch in batches:
        w, state, value, _, metrics = step(w, state, batch)
        told.append((value, metrics["step_size"], metrics["num_trials"]))
    return w, np.array(told, float)


def quadratic(w, scale):
    return scale * jnp.sum((w - 1.0) ** 2)


@pytest.mark.slow(one_in=4)
@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_first_step_is_a_share_of_the_params_whatever_the_loss(name, scale):
    """The loss may be without a bound, and the direction in any unit."""
    loss_fn = lambda w, _: -scale * jnp.sum(w)  # noqa: E731
    for w, moved in ((jnp.ones(4), 0.06), (jnp.zeros(4), 1e-3)):
        optimizer = optaxls.auto(DIRECTIONS[name]())
        end, told = steps_of(optimizer, loss_fn, w, [jnp.float32(0.0)])
        np.testing.assert_allclose(end - w, moved, rtol=1e-2)
        assert told[0, 2] == 0


@pytest.mark.slow
def test_a_step_too_short_to_move_the_params_grows_again():
    """The first batch was of another world; bfloat16 swallows the steps after it."""
    w = jnp.full(3, 3.0, jnp.bfloat16)
    batches = [jnp.bfloat16(1e4)] + [jnp.bfloat16(1.0)] * 400
    _, told = steps_of(optaxls.auto(optax.identity()), quadratic, w, batches)
    assert told[1, 1] < 1e-4 and told[1, 0] == told[5, 0]
    assert told[-1, 0] < 0.02 * told[1, 0]


@pytest.mark.slow
def test_leaves_that_are_not_trained_may_be_of_any_kind():
    w = {"w": jnp.zeros(2), "flag": jnp.array([True]), "row": np.arange(3)}
    loss_fn = lambda w, scale: quadratic(w["w"], scale)  # noqa: E731
    w, _ = steps_of(optaxls.auto(), loss_fn, w, [jnp.float32(1.0)] * 60)
    assert w["flag"].tolist() == [True] and w["row"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(w["w"], 1.0, atol=1e-2)


def test_a_step_size_is_refused_by_name():
    with pytest.raises(TypeError, match=r"direction must be .* got 0\.1; no step size"):
        optaxls.auto(0.1)  # pyright: ignore[reportArgumentType]


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="XLA loses the order")
def test_a_donated_step_copies_no_params():
    # The mean iterate and the average read the params before they are overwritten.
    optimizer = optaxls.auto()

    def loss(w, x):
        return jnp.mean((x @ w - jnp.sin(x[:, :7])) ** 2)

    w = jnp.ones((90, 7))
    step = jax.jit(optaxls.make_step(loss, optimizer), donate_argnums=(0, 1))
    x = jnp.ones((5, 90))
    text = step.lower(w, optimizer.init(w), x).compile().as_text()
    assert re.search(r"= f32\[90,7\]\S* fusion\(", text)
    assert not re.search(r"= f32\[90,7\]\S* copy\(", text)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_full_batches_that_are_fitted_do_not_make_the_steps_explode(seed):
    """All batches agree there, and for ever: the margin of a network has no end."""
    keys = jax.random.split(jax.random.key(seed), 4)
    x, labels = jax.random.normal(keys[0], (64, 8)), jnp.arange(64) % 3
    params = {
        "hidden": jax.random.normal(keys[1], (8, 64)) / 3,
        "out": jax.random.normal(keys[2], (64, 3)) / 6,
    }

    def loss(p):
        logits = jax.nn.relu(x @ p["hidden"]) @ p["out"]
        return jnp.mean(
            optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        )

    optimizer = optaxls.auto()
    step = optaxls.make_step(loss, optimizer)

    def one(carry, _):
        result = step(*carry)
        return (result.params, result.opt_state), result.value

    run = jax.jit(lambda carry: jax.lax.scan(one, carry, length=1500))
    (params, state), losses = run((params, optimizer.init(params)))
    assert jnp.max(losses[300:]) < 1e-3
    assert loss(optaxls.eval_params(state, params)) < 1e-5
