"""The published optimizers: ten steps against the papers' arithmetic, closed forms."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems
from tests.parts import oracle

CURVATURES = [(1.0, 4.0), (6.0, 0.5), (2.0, 2.0)]
EPOCH = 3
NUM_STEPS = 10


def batch_loss(batch, w):
    """Mini-batches are quadratics with the common minimum 0."""
    return 0.5 * sum(a * x * x for a, x in zip(CURVATURES[batch % 3], w, strict=True))


def batch_gradient(batch, w):
    return [a * x for a, x in zip(CURVATURES[batch % 3], w, strict=True)]


def moved(w, step, direction):
    return [x + step * d for x, d in zip(w, direction, strict=True)]


def trajectory(optimizer, grad_fn=True):
    """Step sizes, trials and params of ours, in float64."""

    @jax.jit
    def step(w, state, curvatures):
        def loss(w):
            return 0.5 * jnp.sum(curvatures * w**2)

        value, grad = jax.value_and_grad(loss)(w)
        given = {"value": value, "grad": grad, "value_fn": loss}
        given["grad_fn"] = jax.grad(loss)
        updates, state = optimizer.update(grad, state, w, **given)
        report = optaxls.metrics(state)
        w = optax.apply_updates(w, updates)
        return w, state, report["step_size"], report["num_trials"]

    records = []
    with jax.enable_x64(True):
        w = jnp.array([1.0, -2.0])
        state = optimizer.init(w)
        for batch in range(NUM_STEPS):
            curvatures = jnp.array(CURVATURES[batch % 3])
            w, state, step_size, num_trials = step(w, state, curvatures)
            records.append((float(step_size), int(num_trials), w.tolist()))
    return records


def search_step(batch, w, first, shrink, verdict, reference=None, **arguments):
    """One batch's search along the negative gradient, from the oracle."""
    gradient = batch_gradient(batch, w)
    direction = [-g for g in gradient]
    value = batch_loss(batch, w)
    step, trials, accepted, _ = oracle.backtrack(
        lambda eta: batch_loss(batch, moved(w, eta, direction)),
        verdict,
        value if reference is None else reference,
        -sum(g * g for g in gradient),
        first,
        shrink,
        **arguments,
    )
    assert accepted
    return step, trials, direction


def assert_same(ours, theirs):
    assert [trials for _, trials, _ in ours] == [trials for _, trials, _ in theirs]
    for (step, _, w), (expected, _, expected_w) in zip(ours, theirs, strict=True):
        assert step == pytest.approx(expected, rel=1e-9)
        assert w == pytest.approx(expected_w, rel=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("reset", ["keep", "grow", "restart"])
def test_sls(reset):
    w, step, expected = [1.0, -2.0], 1.5, []
    for batch in range(NUM_STEPS):
        first = {"keep": step, "grow": step * 2 ** (1 / EPOCH), "restart": 1.5}[reset]
        step, trials, direction = search_step(batch, w, first, 0.7, oracle.armijo(0.2))
        w = moved(w, step, direction)
        expected.append((step, trials, w))
    optimizer = optaxls.sls(
        steps_per_epoch=EPOCH,
        c=0.2,
        decrease_factor=0.7,
        initial_step_size=1.5,
        reset=reset,
    )
    assert_same(trajectory(optimizer), expected)


def test_sls_goldstein():
    w, step, expected = [1.0, -2.0], 0.01, []
    for batch in range(NUM_STEPS):
        first = step * 2 ** (1 / EPOCH)
        verdict = oracle.goldstein(0.2)
        step, trials, direction = search_step(
            batch, w, first, 0.9, verdict, grow=2.0, budget=100
        )
        w = moved(w, step, direction)
        expected.append((step, trials, w))
    optimizer = optaxls.sls_goldstein(
        steps_per_epoch=EPOCH, c=0.2, initial_step_size=0.01
    )
    assert_same(trajectory(optimizer), expected)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["polyak", "nesterov"])
def test_sls_momentum(variant):
    """w+ = w - eta g + mu (w - w_); Nesterov's y in the same terms."""
    mu, w, step = 0.25, [1.0, -2.0], 1.0
    velocity, last_y, expected = [0.0, 0.0], list(w), []
    for batch in range(NUM_STEPS):
        step, trials, direction = search_step(batch, w, step, 0.9, oracle.armijo(0.3))
        y = moved(w, step, direction)
        if variant == "polyak":
            new = moved(y, mu, velocity)
            velocity = moved(new, -1.0, w)
        else:
            velocity = [
                mu * v + step * d for v, d in zip(velocity, direction, strict=True)
            ]
            new = moved(y, mu, velocity)
        last_y, w = y, new
        expected.append((step, trials, w))
    assert last_y != w
    optimizer = optaxls.sls_momentum(variant=variant, momentum=mu, c=0.3)
    assert_same(trajectory(optimizer), expected)


def test_sls_extragradient():
    w, step, expected = [1.0, -2.0], 1.0, []
    for batch in range(NUM_STEPS):
        gradient = batch_gradient(batch, w)
        norm = sum(g * g for g in gradient) ** 0.5
        step, trials = step * 2 ** (1 / EPOCH), 1

        def ahead(step, batch=batch, w=w, gradient=gradient):
            return batch_gradient(batch, moved(w, -step, gradient))

        def change(step, ahead=ahead, gradient=gradient):
            pairs = zip(ahead(step), gradient, strict=True)
            return sum((a - g) ** 2 for a, g in pairs) ** 0.5

        while change(step) > 0.9 * norm:
            step, trials = step * 0.9, trials + 1
        w = moved(w, -step, ahead(step))
        expected.append((step, trials, w))
    assert_same(trajectory(optaxls.sls_extragradient(steps_per_epoch=EPOCH)), expected)


@pytest.mark.parametrize("growth", [None, 1.5])
def test_sps(growth):
    w, step, expected = [1.0, -2.0], 0.1, []
    for batch in range(NUM_STEPS):
        gradient = batch_gradient(batch, w)
        sqnorm = sum(g * g for g in gradient)
        cap = step * 1.5 ** (1 / EPOCH) if growth else 0.3
        step = min(batch_loss(batch, w) / (0.4 * sqnorm + 1e-8), cap, 0.3)
        w = moved(w, -step, gradient)
        expected.append((step, 0, w))
    optimizer = optaxls.sps(
        c=0.4,
        max_step_size=0.3,
        growth=growth,
        steps_per_epoch=EPOCH,
        initial_step_size=0.1,
    )
    assert_same(trajectory(optimizer), expected)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [True, False])
def test_ponos(memory):
    w, expected, power, mean, weight = [1.0, -2.0], [], 0, 0.0, 0.0
    decay, deviation = 0.75, oracle.Deviation()
    for batch in range(NUM_STEPS):
        value, gradient = batch_loss(batch, w), batch_gradient(batch, w)
        mean, weight = oracle.zhang_hager(mean, weight, value, decay, deviation)
        sqnorm = sum(g * g for g in gradient)
        first = 0.5 ** (power if memory else 0) * value / (0.1 * sqnorm + 1e-8)
        first = min(max(first, 1e-6), 10.0)
        reference = max(mean, value)
        step, trials, direction = search_step(
            batch, w, first, 0.5, oracle.armijo(0.5), reference
        )
        deviation.step(step * sqnorm)
        power = max(power + trials - 2, 0)
        w = moved(w, step, direction)
        expected.append((step, trials, w))
    optimizer = optaxls.ponos(decay=decay, memory=memory)
    assert_same(trajectory(optimizer), expected)


def test_adam_sls_in_one_dimension_is_sls_on_the_sign():
    """b2 = 0: P = 1 / |g|, so the searched direction is the sign."""
    optimizer = optaxls.adam_sls(steps_per_epoch=1, b2=0.0, growth=1.0, c=0.25)
    w = jnp.array([3.0])
    updates, state = optimizer.update(
        w,
        optimizer.init(w),
        w,
        value=4.5,
        grad=w,
        value_fn=lambda w: 0.5 * jnp.sum(w**2),
    )
    assert float(updates[0]) == pytest.approx(-1.0)
    assert float(state.step_rule.slope) == pytest.approx(-3.0)


@pytest.mark.slow
@pytest.mark.parametrize("momentum", ["heavy_ball", "nesterov"])
def test_adam_momentum_after_the_step(momentum):
    arguments = {"c": 1.0, "max_step_size": 0.1, "b2": 0.5}
    plain = optaxls.adam_sps(**arguments)
    after = optaxls.adam_sps(b1=0.5, momentum=momentum, **arguments)
    chained = optax.chain(plain, optax.trace(0.5, nesterov=momentum == "nesterov"))
    one, other = trajectory(after), trajectory(chained)
    assert one == other != trajectory(plain)


def train(optimizer, loss, w, batches):
    def body(carry, batch):
        w, state = carry
        value, grad = jax.value_and_grad(loss)(w, batch)
        updates, state = optimizer.update(
            grad, state, w, value=value, grad=grad, value_fn=lambda w: loss(w, batch)
        )
        return (optax.apply_updates(w, updates), state), optaxls.metrics(state)

    @jax.jit
    def run(w):
        return jax.lax.scan(body, (w, optimizer.init(w)), batches)

    (w, _), report = run(w)
    return w, report


def single_rows(num_rows=100, num_columns=10, num_epochs=12):
    """Least squares that can be fitted, one row a batch."""
    rows, targets, solution = problems.least_squares(num_rows, num_columns)
    order = jax.random.randint(jax.random.key(1), (num_rows * num_epochs,), 0, num_rows)

    def loss(w, row):
        return 0.5 * (rows[row] @ w - targets[row]) ** 2

    def full(w):
        return float(0.5 * jnp.mean((rows @ w - targets) ** 2))

    return loss, full, 0 * solution, order


@pytest.mark.slow
def test_ponos_with_a_mean_that_never_forgets_stalls_on_least_squares():
    loss, full, w, order = single_rows()
    ends = {}
    for decay in (1.0, 0.9):
        ends[decay] = full(train(optaxls.ponos(decay=decay), loss, w, order)[0])
    assert ends[0.9] < 1e-8 * full(w)
    assert ends[1.0] > 1e-4 * full(w)


@pytest.mark.slow
def test_the_memory_of_ponos_saves_trials():
    loss, _, w, order = single_rows(num_epochs=5)
    trials = {}
    for memory in (True, False):
        optimizer = optaxls.ponos(decay=0.9, memory=memory)
        trials[memory] = train(optimizer, loss, w, order)[1]["num_trials"].mean()
    assert trials[True] < 0.9 * trials[False]


@pytest.mark.slow
def test_sls_takes_a_median_of_one_trial():
    loss, full, w, _ = single_rows()
    rows = jax.random.randint(jax.random.key(2), (100, 20), 0, 100)

    def batch_loss(w, batch):
        return jnp.mean(jax.vmap(loss, (None, 0))(w, batch))

    end, report = train(optaxls.sls(steps_per_epoch=5), batch_loss, w, rows)
    assert jnp.median(report["num_trials"]) == 1
    assert full(end) < 1e-6 * full(w)


@pytest.mark.slow
def test_restarting_costs_more_trials_than_growing():
    loss, _, w, order = single_rows(num_epochs=3)
    trials = {}
    for reset in ("grow", "restart"):
        optimizer = optaxls.sls(steps_per_epoch=100, reset=reset, initial_step_size=3.0)
        trials[reset] = train(optimizer, loss, w, order)[1]["num_trials"].mean()
    assert trials["restart"] > 5 * trials["grow"]
