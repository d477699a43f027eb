"""Every guard against a bad batch, by name: each test fails without its guard.

One exploded batch counts at most tenfold in any memory, and is forgotten; what it may
do to a step is bounded; what is held back comes back.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls._core import robust
from tests.faults import test_bad_batches_in_training as test_training_faults
from tests.parts.samples import origin, outcome, trial
from tests.problems import ALIASES

# The law.

CONDITIONS = {
    "zhang_hager": optaxls.zhang_hager(0.5),
    "window_armijo": optaxls.window_armijo(0.5, 10),
    "smoothed_armijo": optaxls.smoothed_armijo(0.5),
}


def rise_allowed(condition, losses, slope=-1.0):
    """How far above the last loss a trial of length 0 may lie, after those losses."""
    memory = condition.init(jnp.ones(1))
    for value in losses:
        # A batch that exploded is as many times steeper.
        steep = slope * (value if value > 1e5 else 1)
        at = origin(value, steep)
        memory = condition.observe(memory, at)
        done = outcome(0.25, value=value + 0.2 * steep, slope=steep)
        memory = condition.commit(memory, at, done)
    at = origin(losses[-1], slope)
    return float(-condition.judge(memory, at, trial(0.0, losses[-1])).too_long)


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 3.0, -3.0, 40.0])
@pytest.mark.parametrize("exploded", [1e6, 1e12])
@pytest.mark.parametrize("name", ["zhang_hager", "window_armijo"])
def test_one_exploded_loss_raises_the_reference_by_at_most_ten_deviations(
    name, exploded, offset
):
    losses = [offset, offset + 1.0] * 10
    rise = rise_allowed(CONDITIONS[name], [*losses, exploded, offset])
    assert rise <= 1 + 10 * 1.5


@pytest.mark.parametrize("exploded", [1e6, 1e12])
def test_one_exploded_batch_is_at_most_ten_times_as_steep_in_smoothed_armijo(exploded):
    rise = rise_allowed(CONDITIONS["smoothed_armijo"], [1.0] * 20 + [exploded, 1.0])
    assert rise < 9 * 10 * 0.2


@pytest.mark.parametrize("name", ["zhang_hager", "window_armijo"])
def test_after_identical_losses_a_higher_one_gets_through(name):
    """A typical deviation of 0 must not hold the reference for good."""
    memory = CONDITIONS[name].init(jnp.ones(1))
    for value in [2.0] * 5 + [5.0] * 100:
        memory = CONDITIONS[name].observe(memory, origin(value))
    verdict = CONDITIONS[name].judge(memory, origin(3.0), trial(0.0, 4.5))
    assert verdict.too_long <= 0


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-2, 1e6])
@pytest.mark.parametrize(
    "condition", [optaxls.zhang_hager(0.5, 0.9), optaxls.window_armijo(0.5)]
)
def test_the_reference_follows_a_new_scale_within_tens_of_steps(condition, factor):
    memory = condition.init(jnp.ones(1))
    losses = [1.0, 2.0] * 40
    for value in losses + [factor * value for value in losses]:
        memory = condition.observe(memory, origin(value))
    at = origin(factor)
    reference = -condition.judge(memory, at, trial(0.0, 0.0)).too_long
    assert factor <= reference <= 2.5 * factor


def steps_through(tx, factors, value=1.0):
    """States of a transformation over multiples of one gradient."""
    w, states = jnp.array([3.0, 4.0]), []
    state = tx.init(w)
    step = jax.jit(lambda g, s, f: tx.update(g, s, w, value=value * f, grad=g)[1])
    for factor in factors:
        state = step(factor * w, state, jnp.float32(factor))
        states.append(state)
    return states


@pytest.mark.parametrize("exploded", [1e6, 1e12])
def test_one_exploded_gradient_enters_guarded_as_ten(exploded):
    states = steps_through(optaxls.guarded(optax.trace(0.5)), [1.0] * 9 + [exploded])
    assert jnp.max(states[-1].direction.trace) < 2 * 4 + 10.1 * 4
    assert states[-1].mean_grad_sqnorm < 11 * 25


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["adam", "amsgrad", "adagrad", "rmsprop"])
def test_one_exploded_gradient_enters_adams_moments_as_ten(variant):
    rule = optaxls.scale_by_initial_step(optaxls.constant(1.0))
    tx = optaxls.scale_by_preconditioned_search(rule, variant=variant)
    states = steps_through(tx, [1.0] * 9 + [1e9])
    before, after = (state.pair.second_moment[1] for state in states[-2:])
    assert after <= before + 100.1 * 16


# What one batch may do to a step of auto.


def train(direction, seeds=4, epochs=60):
    """Losses of a network of ReLUs at the end of training by ``auto``."""
    images, labels = map(jnp.asarray, test_training_faults.digits())
    loss = test_training_faults.loss
    rng = np.random.default_rng(0)
    order = [[rng.permutation(640) for _ in range(epochs)] for _ in range(seeds)]
    batches = jnp.asarray(np.reshape(order, (seeds, epochs * 10, 64)))
    optimizer = optaxls.auto(direction)
    step = optaxls.make_step(loss, optimizer)

    def run(seed, rows):
        def one(carry, row):
            result = step(*carry, images[row], labels[row])
            return (result.params, result.opt_state), None

        params = test_training_faults.init(jax.random.key(seed))
        (params, _), _ = jax.lax.scan(one, (params, optimizer.init(params)), rows)
        return loss(params, images, labels)

    return jax.jit(jax.vmap(run))(jnp.arange(seeds), batches)


@pytest.mark.slow
def test_a_network_of_relus_stays_alive_along_the_plain_gradient():
    assert jnp.max(train(optax.identity())) < 0.1


def minimise(kind, scale=1.0, direction=None, num_steps=300, dtype=jnp.float32):
    """The params of ``auto`` on (w - 3)^2 / 2, step by step."""
    optimizer = optaxls.auto(direction)

    def loss(w):
        return jnp.asarray(scale / 2, w.dtype) * jnp.sum((w - 3) ** 2)

    losses = {
        "plain": loss,
        "plus 100": lambda w: loss(w) + 100,
        "minus 1000": lambda w: loss(w) - 1000,
        # As a loss that is measured from where each step starts.
        "always 0": lambda w: loss(w) - jax.lax.stop_gradient(loss(w)),
    }
    step = optaxls.make_step(losses[kind], optimizer)

    def one(carry, _):
        result = step(*carry)
        return (result.params, result.opt_state), result.params

    w = jnp.zeros(2, dtype)
    run = jax.jit(lambda carry: jax.lax.scan(one, carry, length=num_steps)[1])
    return run((w, optimizer.init(w)))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("direction", [None, optax.identity()], ids=["adam", "sgd"])
def test_a_loss_that_is_always_0_is_minimised(direction, scale):
    """Its gradient is not 0: a loss that never changes does not limit the steps."""
    w = minimise("always 0", scale, direction)
    np.testing.assert_allclose(w[-1], 3, atol=1e-2)


@pytest.mark.slow
def test_an_offset_of_the_loss_does_not_matter_to_auto():
    plain, some, more = (minimise(k) for k in ("plain", "plus 100", "minus 1000"))
    for w in (plain, some, more):
        np.testing.assert_allclose(w[-1], 3, atol=1e-2)
    # Until a change of the loss is rounded.
    np.testing.assert_allclose(plain[:20], some[:20], rtol=1e-3)
    np.testing.assert_allclose(plain[:20], more[:20], rtol=1e-3)


def hindsight_steps(losses, gradients, initial_step_size):
    tx = optaxls.scale_by_initial_step(
        optaxls.hindsight(initial_step_size=initial_step_size)
    )
    w = jnp.ones(2)
    state, states = tx.init(w), []
    for value, g in zip(losses, gradients, strict=True):
        g = jnp.full(2, g)
        updates, state = tx.update(-g, state, w, value=jnp.float32(value), grad=g)
        w = w + updates
        states.append(state)
    return states


def test_a_promise_that_overflows_does_not_stay_in_hindsight():
    """1e3 times a slope of 1e36 is infinite in float32."""
    states = hindsight_steps([1.0] * 9, [1e18] + [1.0] * 8, 1e3)
    for state in states:
        leaves = jax.tree.leaves(state.initial_step)
        assert all(jnp.all(jnp.isfinite(leaf)) for leaf in leaves)


def test_a_batch_whose_promise_overflows_is_not_the_last_to_move():
    states = hindsight_steps([1.0] * 20, [1.0] * 3 + [1e19] + [1.0] * 16, 0.1)
    assert all(state.accepted and state.step_size > 1e-3 for state in states[8:])


def test_a_direction_whose_squared_length_overflows_is_limited():
    """Its length is infinite in float32; its slope is not."""
    tx = optaxls.scale_by_initial_step(optaxls.hindsight(initial_step_size=1e-21))
    w, g = jnp.zeros(2), jnp.ones(2)
    state = tx.init(w)
    for value in (1.0, 1.001, 1.0):
        _, state = tx.update(-1e20 * g, state, w, value=jnp.float32(value), grad=g)
    promised = float(-state.step_size * state.slope)
    # Four times the typical change of the loss, which is the last one too.
    assert promised == pytest.approx(4e-3, rel=1e-2)


def test_what_grow_remembers_never_comes_to_0():
    """From 0 nothing grows."""
    grow = optaxls.grow(1.0)
    memory = grow.init(jnp.ones(1))
    for _ in range(50):
        failed = outcome(1e-30 * float(memory.start), 100, accepted=False)
        memory = grow.commit(memory, origin(), failed)
    assert memory.start >= robust.shortest(jnp.float32) > 0


@pytest.mark.parametrize("name", ["smoothed_polyak", "grow", "polyak"])
def test_one_collapsed_step_is_doubted_until_the_next_batch(name):
    part = {
        "smoothed_polyak": optaxls.smoothed_polyak(0.5),
        "grow": optaxls.grow(1.0, 1.0),
        "polyak": optaxls.polyak(0.5, memory=0.5),
    }[name]
    memory = part.init(jnp.ones(1))
    before = None
    for step_size, trials in ((1.0, 1), (1.0, 1), (1e-6, 21), (1.0, 1)):
        if step_size < 1:
            before = memory
        memory = part.commit(memory, origin(), outcome(step_size, trials))
    one, other = part.propose(before, origin()), part.propose(memory, origin())
    assert other == pytest.approx(float(one), rel=0.1)


def test_a_step_tenfold_off_is_searched_again_by_when_unsteady():
    gate = optaxls.when_unsteady()
    memory = gate.init(jnp.ones(1))
    for _ in range(500):
        memory = gate.commit(memory, origin(), outcome(1.0, 1))
    assert not gate.should_search(memory, origin())
    memory = gate.commit(memory, origin(), outcome(1e-3, 1))
    for _ in range(3):
        assert gate.should_search(memory, origin())
        memory = gate.commit(memory, origin(), outcome(1e-3, 0))


# What is said of losses below their bound, and of a mean that never forgets.


BOUNDED_BELOW = [name for name in ALIASES if "ponos" in name or "sps" in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED_BELOW)
def test_a_loss_below_its_bound_gives_no_step_and_says_so(name):
    optimizer = ALIASES[name].make()
    step = jax.jit(optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2) - 10, optimizer))
    w = jnp.ones(2)
    result = step(w, optimizer.init(w))
    assert not result.metrics["accepted"] and result.metrics["step_size"] == 0
    assert result.params.tolist() == [1.0, 1.0]


def excess(decay, start, stop):
    """Mean excess loss of ``ponos``; the loss is a hundredth from step 200 on."""
    curvature, noise = jnp.array([1.0, 100.0]), np.random.default_rng(0)
    targets = jnp.asarray(0.3 * noise.standard_normal((600, 2)), jnp.float32)
    optimizer = optaxls.ponos(decay=decay)
    step = optaxls.make_step(
        lambda w, z, scale: scale * 0.5 * jnp.sum(curvature * (w - z) ** 2), optimizer
    )

    def one(carry, batch):
        result = step(*carry, *batch)
        value = 0.5 * jnp.sum(curvature * result.params**2)
        return (result.params, result.opt_state), value

    scales = jnp.where(jnp.arange(600) < 200, 1.0, 0.01)
    w = jnp.ones(2)
    run = jax.jit(lambda carry, batches: jax.lax.scan(one, carry, batches)[1])
    values = run((w, optimizer.init(w)), (targets, scales))
    return float(jnp.mean(values[start:stop]))


@pytest.mark.slow
def test_ponos_climbs_after_the_scale_fell_but_not_if_it_forgets():
    """As published: the mean of all losses is of the old scale for long."""
    assert excess(1.0, 240, 600) > 10 * excess(1.0, 100, 200)
    assert excess(0.9, 240, 600) < 1.5 * excess(0.9, 100, 200)


# Kinds of numbers.


@pytest.mark.slow(one_in=4)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("name", ALIASES)
def test_float16_params_descend(name, scale):
    """The square of 1e-4, or of 1e3, is no float16: no rule may need it."""
    optimizer = ALIASES[name].make()

    def loss(w):
        return jnp.asarray(scale, w.dtype) * jnp.sum((w - 1) ** 2)

    def one(carry, _):
        w, state = carry
        value, grad = jax.value_and_grad(loss)(w)
        updates, state = optimizer.update(
            grad, state, w, value=value, grad=grad, value_fn=loss,
            grad_fn=jax.grad(loss),
        )  # fmt: skip
        return (optax.apply_updates(w, updates), state), None

    w = jnp.zeros(2, jnp.float16)
    run = jax.jit(lambda carry: jax.lax.scan(one, carry, length=100)[0])
    w, _ = run((w, optimizer.init(w)))
    # Rules whose steps cannot grow go along a gradient of 1e-4 at the pace of that.
    assert w.dtype == jnp.float16 and jnp.all(w > 0.01) and jnp.all(w < 1.5)
    if name == "auto":
        np.testing.assert_allclose(w.astype(jnp.float32), 1, atol=1e-2)
