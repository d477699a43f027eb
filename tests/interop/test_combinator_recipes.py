"""Recipes of the combinator table that are more than a wrapper: the right numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests import problems
from tests.interop import combinations, numpy_optimizers
from tests.interop.combinations import (
    CURVATURES,
    FACTORIES,
    START,
    assert_close,
    expected,
    feed,
    make,
    vector,
)

every_rule = pytest.mark.parametrize("name", FACTORIES)
# Where the loss or the rule is compiled anew by ``scan`` or ``cond``.
two_rules = pytest.mark.parametrize("name", ["ponos", "sps"])


def reference_step(rule, x, grad=None):
    """Displacement of a NumPy rule on the quadratic."""
    grad = CURVATURES * x
    return rule.step(x, grad, combinations.loss(x), grad, combinations.loss)[1]


# Weight decay.

DECAY = 0.3


def regularised(params):
    return problems.quadratic(params) + 0.5 * DECAY * optax.tree.norm(params) ** 2


@pytest.mark.slow
@every_rule
def test_decay_in_the_loss_is_decay_in_the_direction_tested_on_that_loss(name):
    """L2 in the loss: slope and trials contain it. The reference minimises the same
    regularised quadratic, whose curvatures are those of the loss plus the decay."""
    optimizer, params = make(name), problems.quadratic_params()
    inside = optax.chain(optax.add_decayed_weights(DECAY), make(name))
    state, inside_state = optimizer.init(params), inside.init(params)
    curvatures = CURVATURES + DECAY

    def loss(x):
        return 0.5 * float(curvatures @ x**2)

    rule, x = numpy_optimizers.RULES[name](), START
    for _ in range(3):
        updates, state = feed(optimizer, state, params, regularised)
        value, grad = jax.value_and_grad(regularised)(params)
        same, inside_state = inside.update(
            jax.grad(problems.quadratic)(params),
            inside_state,
            params,
            value=value,
            grad=grad,
            value_fn=regularised,
        )
        assert_close(vector(updates), vector(same))
        params = optax.apply_updates(params, updates)
        x = x + rule.step(x, curvatures * x, loss(x), curvatures * x, loss)[1]
        assert_close(vector(params), x)


@every_rule
def test_decoupled_decay_by_the_step_size_that_was_found(name):
    """w+ = w - eta d - eta * decay * w, eta from the state: one line in the loop."""
    optimizer, params = make(name), problems.quadratic_params()
    state = optimizer.init(params)
    rule, x = numpy_optimizers.RULES[name](), START
    for _ in range(3):
        updates, state = feed(optimizer, state, params)
        step_size = optaxls.metrics(state)["step_size"]
        decay = optax.tree.scale(step_size * DECAY, params)
        params = optax.apply_updates(params, optax.tree.sub(updates, decay))
        grad = CURVATURES * x
        eta, u = rule.step(x, grad, combinations.loss(x), grad, combinations.loss)
        x = x + u - eta * DECAY * x
        assert_close(vector(params), x)


@pytest.mark.parametrize("around", ["the search", "the chain"])
def test_decayed_is_the_line_in_the_loop(around):
    """``decayed`` subtracts the step size found times the decay times the params."""
    search = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    plain = optax.chain(optax.scale(-1.0), search)
    if around == "the search":
        wrapped = optax.chain(optax.scale(-1.0), optaxls.decayed(search, DECAY))
    else:
        wrapped = optaxls.decayed(plain, DECAY)
    params = problems.quadratic_params()
    state, wrapped_state = plain.init(params), wrapped.init(params)
    for _ in range(3):
        updates, state = feed(plain, state, params)
        decay = optax.tree.scale(optaxls.metrics(state)["step_size"] * DECAY, params)
        found, wrapped_state = feed(wrapped, wrapped_state, params)
        assert_close(vector(found), vector(optax.tree.sub(updates, decay)))
        params = optax.apply_updates(params, found)


# Large batches.

ROWS = np.array([[-0.1, 1.8], [2.2, -3.1], [0.1, -0.3], [-0.7, 0.7]])
TARGETS = np.array([1.5, -2.3, -0.1, 0.1])


def batch_loss(w, rows, targets):
    return 0.5 * jnp.mean((rows @ w - targets) ** 2)


def batch_reference(rule, x, rows, targets, updates=None):
    """One step of the NumPy rule on a batch; ``updates`` defaults to its gradient."""

    def loss(at):
        return 0.5 * float(np.mean((rows @ at - targets) ** 2))

    grad = rows.T @ (rows @ x - targets) / len(rows)
    return rule.step(x, grad if updates is None else updates, loss(x), grad, loss)


@two_rules
def test_accumulate_has_the_numbers_of_the_large_batch(name):
    optimizer, w = make(name), jnp.zeros(2)
    step = optaxls.make_step(optaxls.accumulate(batch_loss, 2), optimizer)
    state, rule, x = optimizer.init(w), numpy_optimizers.RULES[name](), np.zeros(2)
    for _ in range(2):
        w, state, _, _, report = step(w, state, jnp.array(ROWS), jnp.array(TARGETS))
        step_size, displacement = batch_reference(rule, x, ROWS, TARGETS)
        x = x + displacement
        assert report["step_size"] == pytest.approx(step_size, rel=1e-4)
        assert_close(w, x)


@pytest.mark.slow
@two_rules
def test_multi_steps_searches_on_the_last_micro_batch_only(name):
    """The mean gradient of both halves, but value, slope and trials of the second."""
    optimizer, w = optax.MultiSteps(make(name), 2), jnp.zeros(2)
    state = optimizer.init(w)
    halves = [(ROWS[:2], TARGETS[:2]), (ROWS[2:], TARGETS[2:])]
    for rows, targets in halves:
        updates, state = feed(
            optimizer, state, w, lambda w, b=(rows, targets): batch_loss(w, *b)
        )
        w = optax.apply_updates(w, updates)
    mean_grad = -ROWS.T @ TARGETS / 4
    rule = numpy_optimizers.RULES[name]
    step_size, half = batch_reference(rule(), np.zeros(2), *halves[1], mean_grad)
    assert_close(w, half)
    large_step_size, _ = batch_reference(rule(), np.zeros(2), ROWS, TARGETS)
    assert large_step_size > 4 * step_size


# Averages of the params.


@every_rule
def test_lookahead_after_a_rule(name):
    """The rule on the fast params, then optax's lookahead around nothing."""
    rule, sync = make(name), optax.lookahead(optax.identity(), 2, 0.5)
    params = optax.LookaheadParams.init_synced(problems.quadratic_params())
    state, sync_state = rule.init(params.fast), sync.init(params)
    reference, fast, slow = numpy_optimizers.RULES[name](), START, START
    for k in range(3):
        updates, state = feed(rule, state, params.fast)
        updates, sync_state = sync.update(updates, sync_state, params)
        params = optax.apply_updates(params, updates)
        fast = fast + reference_step(reference, fast)
        if k == 1:
            slow = slow + 0.5 * (fast - slow)
            fast = slow
        assert_close(vector(params.fast), fast)
        assert_close(vector(params.slow), slow)


@every_rule
def test_schedule_free_moves_z_by_the_step_found_at_y(name):
    """Constant weights: x is the mean of the z; y = 0.9 x + 0.1 z."""
    optimizer = optax.contrib.schedule_free(make(name), learning_rate=1.0, b1=0.9)
    points, state = combinations.observed(optimizer)
    rule, x, y, z = numpy_optimizers.RULES[name](), START, START, START
    for k, point in enumerate(points):
        z = z + reference_step(rule, y)
        x = x + (z - x) / (k + 1)
        y = 0.9 * x + 0.1 * z
        assert_close(point, y)
    assert_close(vector(state.z), z)
    params = problems.quadratic_params()
    at_y = {"b": jnp.array(y[0], jnp.float32), "w": jnp.array(y[1:], jnp.float32)}
    averaged = optax.contrib.schedule_free_eval_params(state, at_y)
    assert_close(vector(averaged), x)
    assert jax.tree.structure(averaged) == jax.tree.structure(params)


@every_rule
def test_averages_of_the_params(name):
    """They read the params and leave the run alone."""
    rule, ema = make(name), optax.ema(0.9, debias=True)
    params = average = problems.quadratic_params()
    state, ema_state = rule.init(params), ema.init(params)
    wanted, biased = START, np.zeros(3)
    for k, point in enumerate(expected(name)):
        updates, state = feed(rule, state, params)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(params, average, 0.25)
        smooth, ema_state = ema.update(params, ema_state)
        wanted = wanted + 0.25 * (point - wanted)
        biased = 0.9 * biased + 0.1 * point
        assert_close(vector(params), point)
        assert_close(vector(average), wanted)
        assert_close(vector(smooth), biased / (1 - 0.9 ** (k + 1)))


# Optimizers around optimizers.


@every_rule
def test_sam_as_a_rule_on_the_shifted_loss(name):
    """Value, gradient and trials at the params plus rho g / |g|, held fixed."""
    rho, optimizer = 0.1, make(name)
    params = problems.quadratic_params()
    state = optimizer.init(params)
    rule, x = numpy_optimizers.RULES[name](), START
    for _ in range(2):
        grad = jax.grad(problems.quadratic)(params)
        shift = optax.tree.scale(rho / optax.tree.norm(grad), grad)

        def shifted(at, shift=shift):
            return problems.quadratic(optax.tree.add(at, shift))

        updates, state = feed(optimizer, state, params, shifted)
        params = optax.apply_updates(params, updates)

        steepest = CURVATURES * x
        ahead = rho * steepest / np.linalg.norm(steepest)

        def loss(at, ahead=ahead):
            return combinations.loss(at + ahead)

        grad_ahead = CURVATURES * (x + ahead)
        x = x + rule.step(x, grad_ahead, loss(x), grad_ahead, loss)[1]
        assert_close(vector(params), x)


@pytest.mark.slow
@every_rule
def test_mechanize_undoes_the_step_that_was_found(name):
    """Its own scale, 1e-6 at first, multiplies the accepted displacement."""
    points, state = combinations.observed(optax.contrib.mechanize(make(name)), 1)
    found = expected(name, num_steps=1)[0] - START
    assert np.linalg.norm(points[0] - START) < 1e-4 * np.linalg.norm(found)
    assert float(jnp.sum(state.s)) < 1e-4
    assert optaxls.metrics(state)["step_size"] > 0.1
