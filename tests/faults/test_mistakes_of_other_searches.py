"""One test for each mistake that was measured in another library's search.

"The peer" is optax 0.2.8 unless another is named.
"""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from optaxls import Verdict
from tests import problems

NAN = float("nan")


def half_square(w):
    return 0.5 * jnp.sum(w**2)


def chained(condition, initial_step, *search):
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(condition, initial_step, *search),
    )


def train(optimizer, loss, w, num_steps):
    """Reports of ``num_steps`` full-batch steps, and the last params."""

    def body(carry, _):
        w, state = carry
        value, grad = jax.value_and_grad(loss)(w)
        updates, state = optimizer.update(
            grad, state, w, value=value, grad=grad, value_fn=loss
        )
        return (optax.apply_updates(w, updates), state), optaxls.metrics(state)

    def run(w):
        return jax.lax.scan(body, (w, optimizer.init(w)), length=num_steps)

    (w, _), report = jax.jit(run)(w)
    return w, report


def test_one_batch_of_nan_trials_does_not_lock_the_step_size_at_zero():
    """The peer: the learning rate becomes 0 and every later guess is a multiple."""
    optimizer = optaxls.sls(steps_per_epoch=10)
    w = jnp.array([1.0, 2.0])
    state = optimizer.init(w)
    for value_fn in [half_square, lambda w: jnp.sum(w) * NAN, half_square]:
        _, state = optimizer.update(
            w, state, w, value=half_square(w), grad=w, value_fn=value_fn
        )
    _, state = optimizer.update(
        w, state, w, value=half_square(w), grad=w, value_fn=half_square
    )
    assert optaxls.metrics(state)["step_size"] > 0.5


def test_a_rejected_step_is_not_taken():
    """The peer: after its last trial it takes that trial, and the loss rises."""
    w = jnp.array([1.0])
    tx = chained(
        optaxls.armijo(), optaxls.constant(1.0), optaxls.backtracking(0.9, max_trials=3)
    )
    updates, state = tx.update(
        w, tx.init(w), w, value=jnp.array(0.5), grad=w, value_fn=lambda w: 9.0 - w[0]
    )
    assert abs(updates[0]) <= 1e-6
    assert not optaxls.metrics(state)["accepted"]


def test_an_ascent_direction_is_not_followed():
    """The peer: ``chain(scale_by_adam(), search)``, sign forgotten, climbs silently."""
    tx = optax.chain(
        optax.scale_by_adam(),
        optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0)),
    )
    w = jnp.array([1.0, -2.0])
    updates, state = tx.update(
        w, tx.init(w), w, value=half_square(w), grad=w, value_fn=half_square
    )
    assert not jnp.any(updates) and not optaxls.metrics(state)["accepted"]


@pytest.mark.parametrize("max_trials", [1, 2, 7])
def test_the_budget_is_the_number_of_evaluations(max_trials):
    """The peer: ``max_backtracking_steps`` + 1, and the last one is taken untested.

    Here one more as well, of the fallback step, and it is reported.
    """
    calls = []

    def value_fn(w):
        calls.append(w)
        return jnp.array(1.0)

    w = jnp.array([1.0])
    tx = chained(
        optaxls.armijo(),
        optaxls.constant(1.0),
        optaxls.backtracking(0.5, 1, max_trials),
    )
    _, state = tx.update(
        w, tx.init(w), w, value=jnp.array(0.5), grad=w, value_fn=value_fn
    )
    assert len(calls) == max_trials + 1 == optaxls.metrics(state)["num_trials"]
    assert optaxls.metrics(state)["step_size"] == 0


def test_a_value_fn_with_aux_needs_no_flag():
    """The peer: TypeError, and a feature request open since 2024."""
    w = jnp.array([1.0, 2.0])
    results = []
    for value_fn in (half_square, lambda w: (half_square(w), {"aux": w})):
        tx = chained(optaxls.armijo(0.5), optaxls.constant(8.0))
        results.append(
            tx.update(w, tx.init(w), w, value=half_square(w), grad=w, value_fn=value_fn)
        )
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    assert (results[0][0] == results[1][0]).all()


def test_scalars_are_float32_whatever_the_params():
    """The peer: both in the first leaf's bfloat16 (2.17 -> 2.172)."""
    w = jnp.array([1.0, 1.0], jnp.bfloat16)
    tx = chained(optaxls.armijo(), optaxls.constant(0.3))
    _, state = tx.update(
        w, tx.init(w), w, value=jnp.array(2.17), grad=w, value_fn=lambda w: 0.0
    )
    report = optaxls.metrics(state)
    assert report["value"] == jnp.float32(2.17)
    assert report["step_size"] == jnp.float32(0.3)


def test_an_integer_leaf_may_come_first():
    """The peer: OverflowError."""
    params = {"a": jnp.array([3], jnp.int8), "w": jnp.array([2.0])}
    direction = {"a": jnp.array([0], jnp.int8), "w": jnp.array([-2.0])}
    grad = {"a": jnp.array([0], jnp.int8), "w": jnp.array([2.0])}
    tx = optaxls.scale_by_line_search(optaxls.armijo(0.5), optaxls.constant(1.0))
    updates, _ = tx.update(
        direction,
        tx.init(params),
        params,
        value=jnp.array(2.0),
        grad=grad,
        value_fn=lambda params: half_square(params["w"]),
    )
    moved = optax.apply_updates(params, updates)
    assert moved["a"].dtype == jnp.int8 and moved["a"] == 3 and moved["w"] == 0


def test_a_step_size_grows_with_bfloat16_params():
    """The peer: 2**(1/500) is 1 in bfloat16, so the step size never grows."""
    tx = chained(optaxls.always_accept(), optaxls.grow(1e-3, 2.0, steps_per_epoch=500))
    w = jnp.ones(2, jnp.bfloat16)
    _, report = train(tx, lambda w: 1e-3 * half_square(w.astype(jnp.float32)), w, 500)
    assert report["step_size"][-1] == pytest.approx(2e-3, rel=1e-3)


def test_map_params_works():
    """The peer: IndexError, since its ``init`` needs leaves."""
    tx = chained(optaxls.armijo(), optaxls.barzilai_borwein())
    w = {"w": jnp.array([1.0, 2.0])}
    doubled = optax.tree.map_params(tx, lambda leaf: leaf + 1, tx.init(w))
    memory = doubled[1].initial_step
    assert (memory.last_params["w"] == 1).all() and memory.last_step == 1.0


def test_two_searches_in_a_chain_report_under_numbered_names():
    """The peer: KeyError, "Found multiple values for 'value'"."""
    tx = optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(0.5)),
        optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(0.25)),
    )
    w = jnp.array([1.0])
    updates, state = tx.update(
        w, tx.init(w), w, value=half_square(w), grad=w, value_fn=half_square
    )
    report = optaxls.metrics(state)
    assert report["step_size_0"] == 0.5 and report["step_size_1"] == 0.25
    assert updates[0] == -0.125
    assert "step_size" not in report


def test_the_step_size_is_not_capped_at_one():
    """The peer: ``max_learning_rate`` is 1, slow where losses are small."""
    _, report = train(
        optaxls.sls(steps_per_epoch=1), lambda w: 1e-3 * half_square(w), jnp.ones(2), 20
    )
    assert report["step_size"][-1] > 500


def test_missing_params_are_named():
    """The peer: "'NoneType' object is not subscriptable"."""
    tx = chained(optaxls.armijo(), optaxls.constant(1.0))
    w = jnp.array([1.0])
    with pytest.raises(TypeError, match="'params'"):
        tx.update(w, tx.init(w), value=1.0, grad=w, value_fn=half_square)


@pytest.mark.slow
def test_lanes_of_a_vmap_do_not_disturb_each_other():
    """The peer: the loop runs to the slowest lane's end; so does ours, unseen."""
    tx = chained(optaxls.armijo(0.5), optaxls.constant(1.0), optaxls.backtracking(0.5))
    curvatures = jnp.array([1.0, 16.0, NAN, 1024.0])

    def step(curvature):
        w = jnp.array([1.0])

        def loss(w):
            return curvature * half_square(w)

        value, grad = jax.value_and_grad(loss)(w)
        updates, state = tx.update(
            grad, tx.init(w), w, value=value, grad=grad, value_fn=loss
        )
        return updates, optaxls.metrics(state)

    updates, report = jax.vmap(step)(curvatures)
    assert report["num_trials"].tolist() == [1, 5, 0, 11]
    assert report["step_size"].tolist() == [1.0, 2.0**-4, 0.0, 2.0**-10]
    assert updates[:, 0].tolist() == [-1.0, -1.0, 0.0, -1.0]


POLYAK = {
    "sps": optaxls.sps(),
    "sps_smoothed": optaxls.sps(growth=2.0, steps_per_epoch=10),
    "adam_sps": optaxls.adam_sps(),
}


@pytest.mark.parametrize("value", [-1.0, NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize("name", POLYAK)
def test_polyak_never_climbs_and_never_breaks(name, value):
    """The peer: a value below the bound climbs, inf takes the largest step, NaN
    makes the params NaN."""
    optimizer, w = POLYAK[name], jnp.array([1.0, -2.0])
    updates, state = optimizer.update(
        w, optimizer.init(w), w, value=jnp.array(value), grad=w
    )
    assert not jnp.any(updates)
    report = optaxls.metrics(state)
    assert report["step_size"] == 0 and not report["accepted"]


@pytest.mark.parametrize("name", POLYAK)
def test_the_polyak_step_size_is_visible_and_the_bound_is_per_batch(name):
    """The peer: an empty state, and a bound fixed at construction."""
    optimizer, w = POLYAK[name], jnp.array([1.0, -2.0])

    def step_size(**given):
        _, state = optimizer.update(
            w, optimizer.init(w), w, value=jnp.array(0.1), grad=w, **given
        )
        return float(optax.tree.get(state, "step_size"))

    assert step_size() > 0
    halved = step_size(lower_bound=jnp.array(0.05))
    assert halved == pytest.approx(step_size() / 2, rel=1e-5)
    assert step_size(lower_bound=0.2) == 0


def without_rounding_guard(condition):
    """The same test with the forgiven rounding asked for again."""

    def rounding(origin):
        products = jax.tree.map(jnp.multiply, origin.grad, origin.params)
        value = jnp.abs(origin.value)
        noise = jnp.finfo(jnp.float32).eps * (4 * value + optax.tree.norm(products))
        return jnp.minimum(noise, value)

    def judge(memory, origin, trial):
        verdict = condition.judge(memory, origin, trial)
        return Verdict(verdict.too_long + rounding(origin))

    return condition._replace(judge=judge)


def matrix_factorisation():
    """6 -> 10 -> 10, realisable: the loss can reach 0."""
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[1], (200, 6))
    targets = x @ jax.random.normal(keys[0], (6, 10))

    def loss(params):
        return 0.5 * jnp.mean(jnp.sum((x @ params[0] @ params[1] - targets) ** 2, 1))

    first = 0.3 * jax.random.normal(keys[2], (6, 10))
    return loss, (first, 0.3 * jax.random.normal(keys[3], (10, 10)))


def interpolated_least_squares():
    rows, targets, solution = problems.least_squares(60, 20)
    return lambda w: 0.5 * jnp.mean((rows @ w - targets) ** 2), 0 * solution


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [
        interpolated_least_squares,
        pytest.param(matrix_factorisation, marks=pytest.mark.slow),
    ],
)
def test_rounding_does_not_collapse_the_step_size(problem):
    """The authors' SLS in float32: near a loss of 1e-10 the test fails by rounding
    alone, and the step size falls from 0.18 to 2.9e-7."""
    loss, params = problem()

    def smallest_late_step(condition):
        rule = optaxls.grow(1.0, 2.0, 10.0)
        optimizer = chained(condition, rule, optaxls.backtracking(0.9))
        _, report = train(optimizer, loss, params, 500)
        values, steps = report["value"], report["step_size"]
        assert values[-1] < 1e-10
        # At a loss of exactly 0 the gradient is 0 too, and there is no step to make.
        late = (jnp.arange(500) >= 100) & (values > 0)
        return float(jnp.min(steps, where=late, initial=jnp.inf)), float(steps[30])

    smallest, typical = smallest_late_step(optaxls.armijo(0.1))
    assert 0.3 * typical < smallest < jnp.inf
    smallest, typical = smallest_late_step(without_rounding_guard(optaxls.armijo(0.1)))
    assert smallest < 1e-4 * typical


@pytest.mark.slow
@pytest.mark.parametrize("loss_dtype", [jnp.bfloat16, jnp.float32])
def test_bfloat16_params_do_not_collapse_the_step_size(loss_dtype):
    rows, targets, solution = problems.least_squares(20, 5)

    def loss(w):
        residual = rows @ w.astype(jnp.float32) - targets
        return (0.5 * jnp.mean(residual**2)).astype(loss_dtype)

    w = jnp.zeros_like(solution, jnp.bfloat16)
    _, report = train(optaxls.sls(steps_per_epoch=10), loss, w, 300)
    assert report["step_size"].dtype == jnp.float32
    assert report["value"][-1] < 1e-2 * report["value"][0]
    late = report["step_size"][100:]
    assert jnp.min(late) > 0.1 * report["step_size"][10]
