"""Other libraries' loops: Flax NNX and linen, Equinox, Optimistix."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import optaxls
from optaxls.flax import TrainState, value_fn

X = jax.random.normal(jax.random.key(0), (16, 4))
Y = jnp.sum(X, axis=1, keepdims=True)
SEEDS, STEPS = 2, 3


# NNX: dropout and batch norm, jitted, over an ensemble, in a scan.


class Model(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.25, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


def loss(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


KEYS = jax.random.split(jax.random.key(7), SEEDS)


# One for all models: another would be another program.
PONOS = optaxls.ponos()


def make(key):
    model = Model(nnx.Rngs(key))
    return model, nnx.Optimizer(model, PONOS, wrt=nnx.Param)


def step(model, optimizer, x, y):
    fn = value_fn(model, loss, x, y)
    value, grads = nnx.value_and_grad(loss)(model, x, y)
    optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)
    return value


jitted_step = nnx.jit(step)


def separate(key):
    """``STEPS`` jitted steps of one model: losses, model and optimizer."""
    model, optimizer = make(key)
    values = [jitted_step(model, optimizer, X, Y) for _ in range(STEPS)]
    return jnp.stack(values), model, optimizer


def states(*modules):
    return [nnx.to_pure_dict(_raw_keys(nnx.state(module))) for module in modules]


def _raw_keys(state):
    def raw(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    return jax.tree.map(raw, state)


def assert_same(found, expected):
    chex.assert_trees_all_close(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
def test_nnx_jit_takes_the_steps_that_eager_mode_takes():
    values, model, optimizer = separate(KEYS[0])
    eager_model, eager_optimizer = make(KEYS[0])
    eager = [step(eager_model, eager_optimizer, X, Y) for _ in range(STEPS)]
    assert_same(jnp.stack(eager), values)
    assert_same(states(eager_model, eager_optimizer), states(model, optimizer))


@pytest.mark.slow
def test_nnx_vmap_over_an_ensemble_equals_separate_runs():
    """Its own dropout masks, batch statistics and number of trials for each."""

    make_all = nnx.vmap(make)

    @nnx.jit
    @nnx.vmap(in_axes=(0, 0, None, None))
    def step_all(model, optimizer, x, y):
        return step(model, optimizer, x, y)

    model, optimizer = make_all(KEYS)
    together = [step_all(model, optimizer, X, Y) for _ in range(STEPS)]
    trials = optaxls.metrics(optimizer.opt_state)["num_trials"]
    assert trials.shape == (SEEDS,)
    for index in range(SEEDS):
        values, *alone = separate(KEYS[index])
        assert_same(jnp.stack(together)[:, index], values)
        one = jax.tree.map(lambda leaf, i=index: leaf[i], states(model, optimizer))
        assert_same(one, states(*alone))


@pytest.mark.slow
def test_nnx_scan_over_steps_equals_a_loop():
    model, optimizer = make(KEYS[0])
    xs = jnp.stack([X] * STEPS)
    ys = jnp.stack([Y] * STEPS)

    @nnx.jit
    @nnx.scan(in_axes=(nnx.Carry, 0, 0), out_axes=(nnx.Carry, 0))
    def train(carry, x, y):
        model, optimizer = carry
        return carry, step(model, optimizer, x, y)

    (model, optimizer), values = train((model, optimizer), xs, ys)
    expected, *alone = separate(KEYS[0])
    assert_same(values, expected)
    assert_same(states(model, optimizer), states(*alone))
    assert optimizer.step[...] == STEPS


# Linen: a train state with batch statistics.


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
        x = nn.Dropout(0.25, deterministic=not train)(nn.relu(x))
        return nn.Dense(1)(x)


class WithStatistics(TrainState):
    batch_stats: dict


def linen_step(state, key):
    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        out, new = state.apply_fn(
            variables, X, True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return jnp.mean((out - Y) ** 2), new["batch_stats"]

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    return stats, state.apply_gradients(
        grads=grads, value=value, value_fn=loss, replace={"batch_stats": stats}
    )


@pytest.mark.slow
def test_linen_batch_statistics_are_those_of_the_gradients_forward_pass():
    model = LinenModel()
    variables = model.init(jax.random.key(1), X, False)
    state = WithStatistics.create(
        apply_fn=model.apply, tx=optaxls.sls(steps_per_epoch=10), **variables
    )

    def loss(state):
        out = state.apply_fn(
            {"params": state.params, "batch_stats": state.batch_stats}, X, False
        )
        return jnp.mean((out - Y) ** 2)

    before, train = loss(state), jax.jit(linen_step)
    for key in jax.random.split(jax.random.key(2), 40):
        stats, state = train(state, key)
        chex.assert_trees_all_equal(state.batch_stats, stats)
        report = optaxls.metrics(state.opt_state)
        assert report["num_trials"] >= 1
        if report["accepted"]:
            assert report["trial_value"] < report["value"]
    assert loss(state) < 0.3 * before


# Equinox.


@pytest.mark.slow
def test_equinox_modules_train_and_keep_what_is_no_array():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 1, 8, 2, key=jax.random.key(0))
    optimizer = optaxls.ponos()

    def loss(model, x, y):
        return jnp.mean((jax.vmap(model)(x) - y) ** 2)

    @eqx.filter_jit
    def step(model, state):
        value, grads = eqx.filter_value_and_grad(loss)(model, X, Y)
        params, static = eqx.partition(model, eqx.is_inexact_array)

        def value_fn(params):
            return loss(eqx.combine(params, static), X, Y)

        updates, state = optimizer.update(
            grads, state, params, value=value, grad=grads, value_fn=value_fn
        )
        return eqx.apply_updates(model, updates), state, value

    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    before, values = model, []
    for _ in range(40):
        model, state, value = step(model, state)
        values.append(float(value))
    assert values[-1] < 0.1 * values[0]
    static = [eqx.partition(m, eqx.is_inexact_array)[1] for m in (before, model)]
    assert eqx.tree_equal(*static)
    assert model.activation is before.activation and model.width_size == 8


# Optimistix.

DETERMINISTIC = {
    "sls": optaxls.sls(steps_per_epoch=1, c=0.5),
    "sls_goldstein": optaxls.sls_goldstein(steps_per_epoch=1),
    "ponos": optaxls.ponos(decay=0.5),
    "armijo": optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(optaxls.armijo(0.1), optaxls.constant(1.0)),
    ),
    "spectral": optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(
            optaxls.window_armijo(1e-4, 10),
            optaxls.barzilai_borwein(0.01),
            optaxls.backtracking(0.5),
        ),
    ),
}


def bowl(w, args):
    return 0.5 * jnp.sum(args * (w["x"] - 1.0) ** 2) + (w["y"] + 2.0) ** 2


def rosenbrock(w, args):
    del args
    return (1 - w["x"][0]) ** 2 + 10 * (w["y"] - w["x"][0] ** 2) ** 2


def minimised(fn, optimizer, start, args=None):
    optimistix = pytest.importorskip("optimistix")
    solver = optimistix.OptaxMinimiser(optimizer, rtol=1e-7, atol=1e-7)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), start)
        return optimistix.minimise(fn, solver, start, args, max_steps=5000)


@pytest.mark.slow
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_optimistix_finds_the_minimum_of_a_bowl(name):
    start = {"x": jnp.array([3.0, -1.0]), "y": jnp.array(1.0)}
    found = minimised(bowl, DETERMINISTIC[name], start, jnp.array([1.0, 4.0]))
    np.testing.assert_allclose(found.value["x"], 1.0, atol=1e-3)
    np.testing.assert_allclose(found.value["y"], -2.0, atol=1e-3)
    assert int(found.stats["num_steps"]) < 500


@pytest.mark.parametrize("name", ["armijo", "spectral"])
def test_optimistix_finds_the_end_of_rosenbrocks_valley(name):
    start = {"x": jnp.array([-1.0]), "y": jnp.array(1.5)}
    found = minimised(rosenbrock, DETERMINISTIC[name], start)
    np.testing.assert_allclose(found.value["x"], 1.0, atol=0.02)
    np.testing.assert_allclose(found.value["y"], 1.0, atol=0.04)
