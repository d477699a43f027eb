"""make_step and on_subset."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems


def loss_fn(w, x, y):
    return jnp.mean((x @ w - y) ** 2)


def data():
    x, y, solution = problems.least_squares(24, 4)
    return x, y, jnp.zeros_like(solution)


# optax's searches refuse unknown arguments, sam asks for grad_fn.
OPTIMIZERS = {
    "sps": lambda: optaxls.sps(),
    "sls": lambda: optaxls.sls(steps_per_epoch=1),
    "extragradient": lambda: optaxls.sls_extragradient(steps_per_epoch=1),
    "sgd": lambda: optax.sgd(0.1, momentum=0.9),
    "adam": lambda: optax.adam(0.1),
    "polyak_sgd": lambda: optax.polyak_sgd(),
    "optax_search": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20)
    ),
    "lbfgs": lambda: optax.lbfgs(),
    "sam": lambda: optax.contrib.sam(
        optax.sgd(0.1), optax.sgd(0.01), sync_period=2, opaque_mode=True
    ),
    "chain": lambda: optax.chain(optax.clip(1.0), optaxls.ponos()),
    "named_chain": lambda: optax.named_chain(("ponos", optaxls.ponos())),
}


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_gets_what_it_asks_for(name):
    x, y, w = data()
    optimizer = OPTIMIZERS[name]()
    step = jax.jit(optaxls.make_step(loss_fn, optimizer))
    state = optimizer.init(w)
    for _ in range(40):
        w, state, *_ = step(w, state, x, y)
    assert loss_fn(w, x, y) < 0.05 * loss_fn(jnp.zeros(4), x, y)


def test_a_step_is_the_loop_one_writes_by_hand():
    x, y, w = data()
    optimizer = optaxls.ponos()
    step = optaxls.make_step(loss_fn, optimizer)
    state = optimizer.init(w)
    result = step(w, state, x, y)

    def value_fn(w):
        return loss_fn(w, x, y)

    value, grad = jax.value_and_grad(value_fn)(w)
    updates, new_state = optimizer.update(
        grad, state, w, value=value, grad=grad, value_fn=value_fn
    )
    chex.assert_trees_all_equal(result.params, optax.apply_updates(w, updates))
    chex.assert_trees_all_equal(result.opt_state, new_state)
    assert result.value == value and result.aux == ()
    chex.assert_trees_all_equal(result.metrics, optaxls.metrics(new_state))


@pytest.mark.parametrize("name", ["sls", "extragradient", "sgd"])
def test_aux_is_that_of_the_old_params(name):
    x, y, w = data()

    def with_aux(w, x, y):
        return loss_fn(w, x, y), {"w": w}

    optimizer = OPTIMIZERS[name]()
    result = optaxls.make_step(with_aux, optimizer, has_aux=True)(
        w, optimizer.init(w), x, y
    )
    plain = optaxls.make_step(loss_fn, optimizer)(w, optimizer.init(w), x, y)
    chex.assert_trees_all_equal(result.aux, {"w": w})
    chex.assert_trees_all_equal(result.params, plain.params)
    assert result.value == loss_fn(w, x, y)


@pytest.mark.slow
def test_the_step_can_be_scanned_and_vmapped():
    x, y, _ = data()
    optimizer = optaxls.sls(steps_per_epoch=1)
    step = optaxls.make_step(loss_fn, optimizer)
    starts = jnp.array([jnp.zeros(4), jnp.ones(4)])

    def train(w):
        def body(carry, _):
            result = step(*carry, x, y)
            return (result.params, result.opt_state), result.metrics["num_trials"]

        return jax.lax.scan(body, (w, optimizer.init(w)), length=5)

    (together, _), trials = jax.jit(jax.vmap(train))(starts)
    assert trials.shape == (2, 5)
    for index, start in enumerate(starts):
        state, w = optimizer.init(start), start
        for _ in range(5):
            w, state, *_ = step(w, state, x, y)
        chex.assert_trees_all_close(together[index], w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "loss,optimizer", [(3, optaxls.sps()), (loss_fn, "adam"), (None, None)]
)
def test_what_is_no_loss_or_optimizer_is_refused(loss, optimizer):
    with pytest.raises(TypeError, match="must be"):
        optaxls.make_step(loss, optimizer)


def test_an_error_of_the_loss_is_not_swallowed():
    def wrong(w):
        if isinstance(w, jax.core.Tracer):
            return jnp.sum(w)
        raise TypeError("grad_fn is innocent")

    w = jnp.ones(1)
    optimizer = optaxls.sls(steps_per_epoch=1)
    with pytest.raises(TypeError, match="innocent"):
        optaxls.make_step(wrong, optimizer)(w, optimizer.init(w))


# on_subset

PARAMS = {"body": {"w": jnp.array([1.0, 2.0])}, "head": jnp.array([3.0])}


def tree_loss(params):
    return 0.5 * jnp.sum(params["body"]["w"] ** 2) + 2.0 * jnp.sum(params["head"] ** 2)


MASKS = {
    "full": {"body": {"w": False}, "head": True},
    "prefix": {"body": False, "head": True},
    "function": lambda params: {"body": {"w": False}, "head": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", ["sls", "adam_sls_momentum", "ponos"])
def test_a_subset_is_trained_with_a_search_on_the_full_loss(name, mask):
    optimizer = optaxls.on_subset(problems.ALIASES[name].make(), MASKS[mask])
    step = jax.jit(optaxls.make_step(tree_loss, optimizer))
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(40):
        params, state, value, *_ = step(params, state)
    chex.assert_trees_all_equal(params["body"], PARAMS["body"])
    assert abs(params["head"][0]) < 1.0
    # The frozen body's loss, 2.5, is part of every value.
    expected = 2.5 + 2.0 * float(params["head"][0]) ** 2
    assert float(step(params, state).value) == pytest.approx(expected, rel=1e-4)
    assert value < tree_loss(PARAMS)


def test_the_step_size_of_a_subset_is_that_of_the_subset():
    """Curvature 4 on the head: Armijo accepts up to 2 (1 - c) / 4 there."""
    optimizer = optaxls.on_subset(
        optaxls.sls(steps_per_epoch=1, c=0.5, growth=1.0, decrease_factor=0.5),
        MASKS["full"],
    )
    step = optaxls.make_step(tree_loss, optimizer)
    result = step(PARAMS, optimizer.init(PARAMS))
    assert result.metrics["step_size"] == 0.25
    assert result.params["head"] == 0


def test_weight_decay_does_not_move_frozen_leaves():
    optimizer = optaxls.on_subset(
        optax.chain(optaxls.sps(), optax.add_decayed_weights(-0.1)), MASKS["full"]
    )
    result = optaxls.make_step(tree_loss, optimizer)(PARAMS, optimizer.init(PARAMS))
    chex.assert_trees_all_equal(result.params["body"], PARAMS["body"])
    assert result.params["head"] != PARAMS["head"]
