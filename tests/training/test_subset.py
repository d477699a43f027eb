"""on_subset: what a mask may be, and what params may hold."""

from typing import Any

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optaxls


class Model(eqx.Module):
    body: eqx.nn.Linear
    head: eqx.nn.Linear
    activation: Any = jnp.tanh

    def __call__(self, x):
        return self.head(self.activation(self.body(x)))


def model():
    keys = jax.random.split(jax.random.key(0))
    return Model(
        eqx.nn.Linear(2, 3, key=keys[0]), eqx.nn.Linear(3, 1, key=keys[1])
    )  # fmt: skip


def head_of(tree):
    """A model of bools, True at the head: it has a ``__call__`` as all models do."""
    return eqx.tree_at(
        lambda m: (m.head.weight, m.head.bias),
        jax.tree.map(lambda _: False, tree),
        (True, True),
    )


def arrays():
    return eqx.partition(model(), eqx.is_inexact_array)


MODULE_MASKS = {
    "of_the_arrays": lambda: head_of(arrays()[0]),
    "of_the_model": lambda: head_of(model()),
    "function": lambda: head_of,
    "partial": lambda: jax.tree_util.Partial(head_of),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULE_MASKS)
def test_a_mask_may_be_a_module_although_it_can_be_called(name):
    params, static = arrays()
    x = jnp.ones(2)

    def loss(params):
        return jnp.mean((eqx.combine(params, static)(x) - 1.0) ** 2)

    optimizer = optaxls.on_subset(optaxls.ponos(), MODULE_MASKS[name]())
    result = jax.jit(optaxls.make_step(loss, optimizer))(params, optimizer.init(params))
    chex.assert_trees_all_equal(result.params.body, params.body)
    assert loss(result.params) < result.value
    assert jnp.any(result.params.head.weight != params.head.weight)


def test_an_unfiltered_equinox_model_is_told_how_to_be_split():
    whole = model()
    optimizer = optaxls.on_subset(optaxls.ponos(), head_of(whole))
    cure = r"on_subset: params\.activation is no array.*eqx\.partition\(model"
    with pytest.raises(TypeError, match=cure):
        optimizer.init(whole)


def test_a_typed_key_among_the_params_is_named():
    optimizer = optaxls.on_subset(optax.sgd(0.1), True)
    with pytest.raises(TypeError, match=r"params\['key'\] is a typed key"):
        optimizer.init({"w": jnp.ones(2), "key": jax.random.key(0)})


def squares(params):
    return jnp.sum(params["w"] ** 2 + params["v"] ** 2)


@pytest.mark.parametrize("count", [jnp.array([7]), np.array([7]), 7])
def test_integer_leaves_stay_whether_masked_or_not(count):
    params = {"w": jnp.array([2.0]), "v": jnp.array([2.0]), "count": count}
    for flag in (False, True):
        mask = {"w": True, "v": False, "count": flag}
        optimizer = optaxls.on_subset(optaxls.sls(steps_per_epoch=1), mask)
        step = optaxls.make_step(
            lambda p: jnp.sum(p["w"] ** 2 + p["v"] ** 2), optimizer
        )
        found = step(params, optimizer.init(params)).params
        assert found["count"] == 7 and found["v"] == 2.0 and abs(found["w"][0]) < 2.0


def matrices(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def test_an_nnx_model_is_masked_by_a_function():
    net = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    subset = optaxls.on_subset(optax.sgd(0.1), matrices)
    optimizer = nnx.Optimizer(net, subset, wrt=nnx.Param)
    before = jax.device_get(nnx.state(net, nnx.Param))
    optimizer.update(net, jax.tree.map(jnp.ones_like, nnx.state(net, nnx.Param)))
    after = nnx.state(net, nnx.Param)
    moved = jax.tree.map(lambda a, b: bool(jnp.all(a != b)), before, after)
    assert dict(nnx.to_pure_dict(moved)) == {"bias": False, "kernel": True}


def test_an_nnx_module_as_mask_is_told_to_write_a_function():
    net = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = optaxls.on_subset(optax.sgd(0.1), matrices(net))
    with pytest.raises(ValueError, match="structure of params.*mask=lambda params"):
        optimizer.init(nnx.state(net, nnx.Param))


@pytest.mark.parametrize("mask", [{"w": True}, {"w": True, "x": True}, [True]])
def test_a_mask_of_another_structure_is_told_what_it_should_have(mask):
    optimizer = optaxls.on_subset(optax.sgd(0.1), mask)
    with pytest.raises(ValueError, match="must have the structure of params"):
        optimizer.init({"w": jnp.ones(1), "v": jnp.ones(1)})


@pytest.mark.parametrize(
    "mask,kind",
    [({"w": 1}, "int"), ({"w": np.array([True])}, "ndarray"), ({"w": "head"}, "str")],
)
def test_a_mask_of_other_things_than_bools_is_refused(mask, kind):
    optimizer = optaxls.on_subset(optax.sgd(0.1), mask)
    with pytest.raises(ValueError, match=f"tree of Python bools.*type {kind}"):
        optimizer.init({"w": jnp.ones(1)})


def test_a_function_is_asked_for_the_mask_of_the_params_not_of_the_updates():
    """``optax.scale(-1.0)`` makes a float of an integer leaf's update."""
    params = {"w": jnp.ones(2), "count": jnp.array(3)}
    asked = []

    def mask(tree):
        asked.append(tree)
        return jax.tree.map(lambda leaf: leaf.dtype == jnp.float32, tree)

    optimizer = optaxls.on_subset(optax.scale(-1.0), mask)
    state = optimizer.init(params)
    grads = {"w": jnp.ones(2), "count": jnp.array(0)}
    updates, _ = optimizer.update(grads, state, params)
    assert all(tree is params for tree in asked)
    assert updates["w"].tolist() == [-1.0, -1.0] and updates["count"] == 0


def test_copies_of_the_params_are_found_in_the_state():
    params = {"w": jnp.ones(2), "v": jnp.ones(2)}
    optimizer = optaxls.on_subset(optax.trace(0.9), {"w": True, "v": False})
    state = optax.tree_utils.tree_map_params(
        optimizer, lambda leaf: leaf + 1, optimizer.init(params)
    )
    assert [leaf.tolist() for leaf in jax.tree.leaves(state)] == [[1, 1], [1, 1]]


COUPLED = jnp.array([[2.0, 1.9], [1.9, 2.0]])


def coupled_loss(params):
    """The Hessian and the gradients on the way couple the two leaves."""
    from_least = jnp.stack([params["body"] - 3.0, params["head"] + 1.0])
    return from_least @ COUPLED @ from_least / 2 + jnp.sum(from_least**4) / 20


def by_newton():
    return optax.chain(
        optaxls.scale_by_newton(),
        optax.scale(-1.0),
        optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0)),
    )


@pytest.mark.slow(one_in=2)
@pytest.mark.parametrize(
    "make",
    [
        optaxls.newton,
        optaxls.hessian_free,
        optaxls.lbfgs,
        optaxls.stochastic_lbfgs,
        by_newton,
        lambda: optaxls.sls_extragradient(steps_per_epoch=1),
    ],
    ids=["newton", "hessian_free", "lbfgs", "stochastic_lbfgs", "chain", "extra"],
)
def test_it_trains_as_if_the_frozen_leaves_were_no_params(make):
    frozen, head = jnp.zeros(()), jnp.zeros(())
    subset = optaxls.on_subset(make(), {"body": False, "head": True})
    whole = optaxls.make_step(coupled_loss, subset)
    part = optaxls.make_step(
        lambda w: coupled_loss({"body": frozen, "head": w}), make()
    )
    params = {"body": frozen, "head": head}
    state, part_state = subset.init(params), make().init(head)
    for _ in range(6):
        params, state, *_, report = jax.jit(whole)(params, state)
        head, part_state, *_, wanted = jax.jit(part)(head, part_state)
        assert params["body"] == 0
        np.testing.assert_allclose(params["head"], head, rtol=1e-5)
        np.testing.assert_allclose(report["trial_value"], wanted["trial_value"], 1e-5)


def test_all_update_arguments_are_those_of_the_subset():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra)
        return updates, state

    spy = optax.GradientTransformationExtraArgs(lambda params: (), update)
    optimizer = optaxls.on_subset(spy, {"v": False, "w": True})
    ones = {"v": jnp.ones(2), "w": jnp.ones(2)}
    total = lambda at: jnp.sum(at["v"]) + jnp.sum(at["w"])  # noqa: E731
    functions = ("value_fn", "curvature_value_fn", "predict_fn")
    trees = ("grad", "snapshot_grad", "example_grads")
    optimizer.update(
        ones,
        optimizer.init(ones),
        ones,
        **dict.fromkeys(functions, total),
        **dict.fromkeys(trees, ones),
        grad_fn=jax.grad(lambda at: total(at) ** 2),
        index=jnp.array(3),
    )
    away = {"v": 7 * jnp.ones(2), "w": 5 * jnp.ones(2)}
    for name in functions:
        assert seen[name](away) == 2 * 1 + 2 * 5
    for name in trees:
        chex.assert_trees_all_equal(seen[name], {"v": jnp.zeros(2), "w": jnp.ones(2)})
    wanted = {"v": jnp.zeros(2), "w": jnp.full(2, 2 * 12.0)}
    chex.assert_trees_all_equal(seen["grad_fn"](away), wanted)
    assert seen["index"] == 3
