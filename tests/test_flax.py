"""Flax adapters: dropout masks, batch statistics and aux stay as they should."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import optaxls
from optaxls.flax import TrainState, _arrays, eval_model, predict_fn, value_fn

X = jax.random.normal(jax.random.key(0), (16, 4))
Y = jnp.sum(X, axis=1, keepdims=True)


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.relu(nn.Dense(8)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(1)(x)


def linen_state(tx):
    model = LinenModel()
    params = model.init(jax.random.key(1), X, train=False)
    return TrainState.create(apply_fn=model.apply, params=params, tx=tx)


def linen_loss(state, key):
    def loss(params):
        out = state.apply_fn(params, X, train=True, rngs={"dropout": key})
        return jnp.mean((out - Y) ** 2)

    return loss


@pytest.mark.slow
def test_linen_train_state_feeds_a_search():
    state = linen_state(optaxls.ponos())

    @jax.jit
    def step(state, key):
        loss = linen_loss(state, key)
        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads, value=value, value_fn=loss), value

    first = linen_loss(state, jax.random.key(9))(state.params)
    for key in jax.random.split(jax.random.key(2), 60):
        state, _ = step(state, key)
        report = optaxls.metrics(state.opt_state)
        assert report["num_trials"] >= 1
    assert state.step == 60
    assert linen_loss(state, jax.random.key(9))(state.params) < 0.5 * first


def test_linen_trials_see_the_gradients_dropout_mask():
    """At step size 0 the trial's loss is the loss whose gradient was taken."""
    state = linen_state(optaxls.sls(steps_per_epoch=1))
    loss = linen_loss(state, jax.random.key(5))
    value, grads = jax.value_and_grad(loss)(state.params)
    new = state.apply_gradients(grads=grads, value=value, value_fn=loss)
    report = optaxls.metrics(new.opt_state)
    assert report["value"] == value
    assert float(report["trial_value"]) == pytest.approx(float(loss(new.params)))
    assert report["trial_value"] < report["value"]


def test_linen_train_state_works_with_plain_optax_and_replaces_fields():
    class WithStats(TrainState):
        stats: int = 0

    model = LinenModel()
    params = model.init(jax.random.key(1), X, train=False)
    state = WithStats.create(apply_fn=model.apply, params=params, tx=optax.sgd(0.5))
    grads = jax.tree.map(jnp.ones_like, params)
    new = state.apply_gradients(grads=grads, value=1.0, replace={"stats": 7})
    expected = jax.tree.map(lambda p: p - 0.5, params)
    chex.assert_trees_all_close(new.params, expected)
    assert new.stats == 7 and new.step == 1


class NnxModel(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


def nnx_loss(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


def nnx_loss_with_aux(model, x, y):
    return nnx_loss(model, x, y), {"aux": jnp.ones(3)}


def params_of(model):
    return nnx.state(model, nnx.Param)


@pytest.mark.slow
def test_nnx_trials_see_the_gradients_dropout_mask():
    model = NnxModel(nnx.Rngs(0))
    fn = value_fn(model, nnx_loss, X, Y)
    value, _ = nnx.value_and_grad(nnx_loss)(model, X, Y)
    assert fn(params_of(model)) == value
    # The model has moved on to another mask; the function has not.
    assert nnx_loss(model, X, Y) != value
    assert fn(params_of(model)) == value


def test_nnx_a_trial_changes_neither_statistics_nor_random_counts():
    model = NnxModel(nnx.Rngs(0))
    fn = value_fn(model, nnx_loss, X, Y)
    before = jax.tree.map(lambda leaf: leaf, nnx.state(model))
    for factor in (0.5, 2.0):
        fn(jax.tree.map(lambda leaf, factor=factor: factor * leaf, params_of(model)))
    chex.assert_trees_all_equal(nnx.state(model), before)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [nnx_loss, nnx_loss_with_aux])
def test_nnx_statistics_move_once_a_step(loss):
    has_aux = loss is nnx_loss_with_aux

    def step(model, optimizer):
        fn = value_fn(model, loss, X, Y)
        gradient = nnx.value_and_grad(loss, has_aux=has_aux)
        value, grads = gradient(model, X, Y)
        value = value[0] if has_aux else value
        optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)
        return value

    model, other = NnxModel(nnx.Rngs(0)), NnxModel(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optaxls.ponos(), wrt=nnx.Param)
    nnx.jit(step)(model, optimizer)
    nnx.value_and_grad(nnx_loss)(other, X, Y)
    stats = [nnx.state(m, nnx.BatchStat) for m in (model, other)]
    chex.assert_trees_all_close(stats[0], stats[1], rtol=1e-6)
    counts = [nnx.state(m, nnx.RngCount) for m in (model, other)]
    chex.assert_trees_all_equal(counts[0], counts[1])
    assert optaxls.metrics(optimizer.opt_state)["num_trials"] >= 1


def test_nnx_training_learns_and_compiles_once():
    model = NnxModel(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optaxls.sls(steps_per_epoch=10), wrt=nnx.Param)
    traces = []

    @nnx.jit
    def step(model, optimizer):
        traces.append(1)
        fn = value_fn(model, nnx_loss, X, Y)
        value, grads = nnx.value_and_grad(nnx_loss)(model, X, Y)
        optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)
        return value

    def value_without_dropout():
        model.eval()
        value = nnx_loss(model, X, Y)
        model.train()
        return value

    values = []
    for _ in range(2):
        for _ in range(40):
            step(model, optimizer)
        values.append(value_without_dropout())
    assert values[1] < 0.3 * jnp.mean(Y**2)
    assert len(traces) == 1


def test_nnx_only_what_is_trained_is_an_argument():
    model = NnxModel(nnx.Rngs(0))
    last = nnx.All(nnx.Param, nnx.PathContains("last"))
    fn = value_fn(model, nnx_loss, X, Y, wrt=last)
    state = nnx.state(model, last)
    assert len(jax.tree.leaves(state)) == 2
    doubled = jax.tree.map(lambda leaf: 2 * leaf, state)
    assert fn(doubled) != fn(state)


class Scale(nnx.Variable):
    """A kind of variable that ``nnx.Param`` does not name."""


class ScaledModel(nnx.Module):
    def __init__(self, with_params):
        self.scale = Scale(jnp.ones(1))
        if with_params:
            self.last = nnx.Linear(4, 1, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.scale[...] * (self.last(x) if hasattr(self, "last") else x)


def nnx_step(model, optimizer, **given):
    fn = value_fn(model, nnx_loss, X, Y, **given)
    gradient = nnx.value_and_grad(nnx_loss, argnums=nnx.DiffState(0, optimizer.wrt))
    value, grads = gradient(model, X, Y)
    optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)
    return value


def test_nnx_variables_of_a_users_kind_are_trained():
    model = ScaledModel(with_params=True)
    optimizer = nnx.Optimizer(model, optaxls.ponos(), wrt=Scale)
    nnx_step(model, optimizer, wrt=Scale)
    assert optaxls.metrics(optimizer.opt_state)["accepted"]


@pytest.mark.parametrize(
    "with_params,message",
    [
        (False, "the model has no variables of wrt=Param"),
        (True, r"trains \['scale'\], but wrt=Param names \['last.bias', 'last.kernel'"),
    ],
)
def test_nnx_says_that_wrt_is_missing(with_params, message):
    model = ScaledModel(with_params)
    optimizer = nnx.Optimizer(model, optaxls.ponos(), wrt=Scale)
    with pytest.raises(ValueError, match=f"{message}.*Pass the wrt"):
        nnx_step(model, optimizer)


class Normalised(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize("name", ["auto", "ponos"])
def test_an_nnx_model_with_the_params_to_keep(name):
    """As the plain loop finds them, and the model that is trained stays as it is."""
    model = Normalised()
    tx = {"auto": optaxls.auto(), "ponos": optaxls.ponos()}[name]
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    def loss_fn(model):
        return jnp.mean((model(X) - Y) ** 2)

    @nnx.jit
    def train_step(model, optimizer):
        fn = value_fn(model, loss_fn)
        value, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)

    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    params, state = _arrays(params), tx.init(_arrays(params))

    def plain_loss(params, rest):
        copy = nnx.merge(graphdef, params, rest, copy=True)
        return loss_fn(copy), nnx.split(copy, nnx.Param, ...)[2]

    step = jax.jit(optaxls.make_step(plain_loss, tx, has_aux=True))
    for _ in range(4):
        train_step(model, optimizer)
        params, state, _, rest, _ = step(params, state, rest)
    before = jax.tree.map(jnp.copy, nnx.state(model))
    average = eval_model(model, optimizer)
    kept = optaxls.eval_params(state, params)
    found = _arrays(nnx.state(average, nnx.Param))
    chex.assert_trees_all_close(found, kept, rtol=1e-5, atol=1e-6)
    own = _arrays(nnx.state(model, nnx.Param))
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), found, own)
    assert (max(jax.tree.leaves(moved)) > 0) == (name == "auto")
    chex.assert_trees_all_equal(
        average.norm.mean.get_value(), model.norm.mean.get_value()
    )
    average.train()
    for _ in range(60):
        average(X)
    expected = average.first(X).mean(0)
    chex.assert_trees_all_close(
        average.norm.mean.get_value(), expected, rtol=1e-2, atol=1e-2
    )
    chex.assert_trees_all_equal(nnx.state(model), before)


@pytest.mark.slow
def test_predictions_of_an_nnx_model_are_those_of_its_evaluation():
    """Dropout is off and batch norm uses its statistics; the model stays as it is."""
    model = nnx.Sequential(
        nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
        nnx.BatchNorm(3, rngs=nnx.Rngs(1)),
        nnx.Dropout(0.5, rngs=nnx.Rngs(2)),
    )
    x = jnp.arange(8.0).reshape(4, 2)
    predict = predict_fn(model, lambda model, x: model(x))
    params, before = nnx.state(model, nnx.Param), nnx.state(model)
    optimizer = optax.sgd(0.1)
    step = optaxls.make_surrogate_step(
        predict, lambda z, x: jnp.mean((z - 1) ** 2), optimizer,
        inner_steps=3, step_size=0.5,
    )  # fmt: skip
    result = jax.jit(step)(params, optimizer.init(params), x)
    assert result.metrics["num_inner_steps"] == 3
    chex.assert_trees_all_equal(nnx.state(model), before)
    assert not model.layers[2].deterministic
    nnx.update(model, result.params)
    model.eval()
    np.testing.assert_allclose(predict(result.params, x), model(x), rtol=1e-6)
