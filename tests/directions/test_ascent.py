"""auto refuses a whole optimizer as direction: it has its minus sign already."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from optaxls.directions._ascent import require_ascent

PARAMS = {"a": jnp.ones(8), "b": jnp.ones(8), "count": jnp.array(3)}
LABELS = {"a": "x", "b": "y", "count": "y"}


def warm_up(count):
    return 0.1 * jnp.minimum(count, 10) / 10


def of_labels(first, second):
    return optax.partition({"x": first, "y": second}, LABELS)


def needs_labels_of_the_batch():
    def update(updates, state, params=None, *, labels, **extra):
        return jax.tree.map(lambda u: -u * labels, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


# Whole optimizers, by the functions of optax and ours that make them.
OPTIMIZERS = {
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3, weight_decay=0.1),
    "sgd_momentum": lambda: optax.sgd(1e-8, momentum=0.9, nesterov=True),
    "lion": lambda: optax.lion(1e3),
    "warm_up": lambda: optax.adam(warm_up),
    "noisy_sgd": lambda: optax.noisy_sgd(0.1, key=jax.random.key(0)),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    "ours": lambda: optaxls.ponos(),
    "auto": lambda: optaxls.auto(),
    "minus": lambda: optax.scale(-1.0),
}
DIRECTIONS = {
    "identity": optax.identity,
    "adam": optax.scale_by_adam,
    "lion": optax.scale_by_lion,
    "trace": lambda: optax.trace(0.9),
    "decayed": lambda: optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(0.1)
    ),
    "noisy": lambda: optax.chain(
        optax.identity(), optax.add_noise(1e4, 0.0, jax.random.key(0))
    ),
    "turned_back": lambda: optax.chain(optax.adam(1e-3), optax.scale(-1.0)),
    "nothing": optax.set_to_zero,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_whole_optimizer_is_refused_and_the_cure_named(name):
    cure = r"auto: direction goes downhill.*scale_by_adam\(\).*optax\.scale\(-1\.0\)"
    with pytest.raises(ValueError, match=cure):
        optaxls.auto(OPTIMIZERS[name]())


def test_it_is_refused_inside_of_jit_too():
    with pytest.raises(ValueError, match="direction goes downhill"):
        jax.jit(lambda w: optaxls.auto(optax.adam(1e-3)).init(w))(jnp.ones(2))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_direction_is_taken(name):
    optimizer = optaxls.auto(DIRECTIONS[name]())
    assert jax.tree.leaves(optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize("jitted", [False, True])
def test_of_a_direction_for_certain_params_init_says_it(jitted):
    """Labels of a tree cannot be tried on a vector."""
    wrong = optaxls.auto(of_labels(optax.adam(1e-3), optax.sgd(0.1)))
    with pytest.raises(ValueError, match="direction goes downhill"):
        (jax.jit(wrong.init) if jitted else wrong.init)(PARAMS)
    right = optaxls.auto(of_labels(optax.scale_by_adam(), optax.identity()))
    state = (jax.jit(right.init) if jitted else right.init)(PARAMS)
    assert optaxls.metrics(state)["num_trials"] == 0


def test_a_large_tree_is_not_tried():
    """``eval_shape`` of ``init`` is how shapes of large models are found."""
    large = dict.fromkeys(LABELS, jax.ShapeDtypeStruct((10**9,), jnp.float32))
    optimizer = optaxls.auto(of_labels(optax.sgd(0.1), optax.sgd(0.1)))
    assert jax.eval_shape(optimizer.init, large)


def test_where_nothing_can_be_tried_the_step_goes_down_all_the_same():
    """All coordinates climb, so that ``cautious`` takes the negative gradient."""
    direction = needs_labels_of_the_batch()
    assert not require_ascent("auto", direction, {"w": jnp.ones(2)})
    optimizer, w = optaxls.auto(direction), jnp.ones(2)
    step = optaxls.make_step(
        lambda w: jnp.sum(w**2), optimizer, extra=lambda w: {"labels": 1.0}
    )
    result = jax.jit(step)(w, optimizer.init(w))
    assert result.metrics["accepted"] and jnp.all(result.params < w)


@pytest.mark.slow
def test_a_learning_rate_that_is_traced_is_let_through():
    def loss_after(rate):
        optimizer = optaxls.auto(optax.chain(optax.trace(0.0), optax.scale(rate)))
        step = optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)
        return jnp.sum(step(jnp.ones(2), optimizer.init(jnp.ones(2))).params ** 2)

    assert jax.jit(loss_after)(0.5) < 2.0
    assert jnp.all(jax.vmap(loss_after)(jnp.array([0.5, 2.0])) < 2.0)
