"""``minimize``: why it stops, what it counts, and where it may be used."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests.compilations import compilations

SCALES = jnp.array([1.0, 4.0])
START = jnp.array([3.0, -1.0])


def loss(w):
    return 0.5 * jnp.sum(SCALES * w**2)


def reason(result):
    return optaxls.StopReason(int(result.stop_reason)).name


def descend(fn, start, step_size=0.25, **given):
    return optaxls.minimize(fn, jnp.asarray(start), optax.sgd(step_size), **given)


def test_gradient_descent_is_a_plain_loop():
    """The last curvature times the step size is 1, the first leaves three quarters."""
    result = descend(loss, START, tolerance=1e-3)
    steps = 1 + int(np.floor(np.log(1e-3 / 3) / np.log(0.75)))
    assert result.num_steps == steps and result.num_evaluations == steps + 1
    assert result.converged and reason(result) == "CONVERGED"
    np.testing.assert_allclose(result.params, [3 * 0.75**steps, 0], atol=1e-6)
    assert result.value == pytest.approx(float(loss(result.params)))
    assert result.optimality == pytest.approx(3 * 0.75**steps)
    at = np.arange(steps + 1)
    wanted = 3.0 * 0.75**at
    wanted[0] = 4
    np.testing.assert_allclose(
        result.history.optimality[: steps + 1], wanted, rtol=1e-5
    )
    np.testing.assert_array_equal(result.history.num_evaluations[at], at + 1)
    assert result.history.value.shape == (1001,)
    assert np.isnan(result.history.value[steps + 1 :]).all()


STOPS = {
    "a start at the minimum": (loss, [0.0, 0.0], 0.25, {}, "CONVERGED", 0),
    "a spent budget": (loss, START, 0.25, {"max_steps": 3}, "MAX_STEPS", 3),
    "a start that is not finite": (
        lambda w: jnp.sum(jnp.log(w)),
        [-1.0, 1.0],
        0.25,
        {},
        "NOT_FINITE",
        3,
    ),
    "a gradient that is not finite": (
        lambda w: jnp.sum(jnp.sqrt(w)),
        [0.0, 1.0],
        0.25,
        {},
        "NOT_FINITE",
        3,
    ),
    # 2**24 + 1 is no float32.
    "params that no longer change": (
        lambda w: jnp.sum(w),
        [2.0**26, 2.0**26],
        1.0,
        {},
        "STALLED",
        3,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", STOPS)
def test_it_says_why_it_stopped(case):
    fn, start, step_size, given, wanted, num_steps = STOPS[case]
    result = descend(fn, start, step_size, **given)
    assert (reason(result), int(result.num_steps)) == (wanted, num_steps)
    assert bool(result.converged) == (wanted == "CONVERGED")
    assert result.num_evaluations == num_steps + 1


def test_a_loss_within_its_rounding_error_stalls_and_slow_progress_does_not():
    """Steps of 4 forth and back; and a descent by 1e-6 of the loss a step."""
    result = descend(lambda w: jnp.sum(jnp.abs(w - 2)) + 1e8, [0.0, 0.0], 4.0)
    assert reason(result) == "STALLED" and result.num_steps <= 101
    result = descend(lambda w: 1 - 1e-3 * w[0], [0.0], 1.0, max_steps=200)
    assert reason(result) == "MAX_STEPS" and result.num_steps == 200


COUNTED = {
    "lbfgs": optaxls.lbfgs(),
    "optax.lbfgs": optax.lbfgs(),
    "sls": optaxls.sls(steps_per_epoch=1, initial_step_size=8.0),
    "behind another": optax.chain(optaxls.lbfgs(), optax.scale(0.5)),
}


def rosenbrock(w):
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "lbfgs",
        "optax.lbfgs",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("sls", "behind another")),
    ],
)
def test_evaluations_are_counted_as_the_host_counts_them(name):
    count = collections.Counter()

    def fn(w):
        jax.debug.callback(lambda: count.update(["evaluations"]))
        return rosenbrock(w)

    start = jnp.array([-1.2, 1.0])
    result = optaxls.minimize(fn, start, COUNTED[name], max_steps=30, tolerance=1e-3)
    jax.effects_barrier()
    assert result.num_steps > 20
    assert result.num_evaluations == count["evaluations"]
    # What it knows of the end is true, also where it evaluated nothing there.
    value, grad = jax.value_and_grad(rosenbrock)(result.params)
    assert result.value == pytest.approx(float(value), rel=1e-4, abs=1e-9)
    assert result.optimality == pytest.approx(
        float(jnp.max(jnp.abs(grad))), rel=1e-2, abs=1e-4
    )


SOLVED = {
    "descent": (loss, optax.sgd(0.2), 0.0),
    "lbfgs": (rosenbrock, optaxls.lbfgs(), 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["descent", pytest.param("lbfgs", marks=pytest.mark.slow)]
)
def test_jit_vmap_and_a_plain_call_agree(name):
    fn, optimizer, wanted = SOLVED[name]

    def solve(scale):
        return optaxls.minimize(lambda w: scale * fn(w), START / 3, optimizer)

    alone_solve = jax.jit(solve)
    together = jax.jit(jax.vmap(solve))(jnp.array([1.0, 0.5]))
    for i, scale in enumerate((1.0, 0.5)):
        alone = alone_solve(scale)
        assert alone.converged and together.converged[i]
        # Rounding differs between the programs.
        assert abs(int(alone.num_steps) - int(together.num_steps[i])) <= 3
        np.testing.assert_allclose(together.params[i], wanted, atol=1e-2)


def test_a_second_call_compiles_nothing_and_a_new_loss_is_seen():
    optimizer = optax.sgd(0.25)
    optaxls.minimize(loss, START, optimizer, tolerance=1e-3)
    with compilations() as compiled:
        optaxls.minimize(loss, 2 * START, optimizer, tolerance=1e-2)
    assert not any("_run" in name for name in compiled)
    other = optaxls.minimize(lambda w: loss(w - 1), START, optimizer)
    np.testing.assert_allclose(other.params, 1.0, atol=1e-5)


def test_a_callback_sees_every_step_and_may_stop():
    seen = []

    def callback(progress):
        seen.append((int(progress.num_steps), float(progress.value)))
        return progress.value < 1

    result = descend(loss, START, callback=callback)
    assert reason(result) == "CALLBACK" and not result.converged
    assert [k for k, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) == result.num_steps and seen[-1][1] == result.value < 1
    plain = descend(loss, START, max_steps=len(seen))
    np.testing.assert_allclose(plain.params, result.params, rtol=1e-6)
    with pytest.raises(TypeError, match="callback"):
        jax.jit(lambda w: descend(loss, w, callback=callback))(START)


def test_aux_is_dropped_and_leaves_that_are_not_trained_stay():
    params = {"w": START, "count": jnp.array([7]), "none": None}

    def fn(p):
        return loss(p["w"]), "aux"

    result = optaxls.minimize(fn, params, optax.sgd(0.25), tolerance=1e-3)
    assert result.converged and result.params["count"].tolist() == [7]


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="optimizer must be an optax optimizer"):
        optaxls.minimize(loss, START, "lbfgs")
    with pytest.raises(TypeError, match="value_fn must be a function"):
        optaxls.minimize(3.0, START, optaxls.lbfgs())
    with pytest.raises(TypeError, match="no array"):
        optaxls.minimize(loss, {"w": "text"}, optaxls.lbfgs())


def searched(**given):
    return optaxls.scale_by_line_search(
        optaxls.wolfe(), optaxls.constant(0.1), optaxls.interpolating(), **given
    )


MOVED_BEHIND = {
    "decayed": lambda: optaxls.decayed(searched(), 0.1),
    "heavy_ball": lambda: optax.chain(searched(), optaxls.heavy_ball(0.5)),
    "nesterov": lambda: optax.chain(searched(), optaxls.nesterov(0.5)),
    "ungated": lambda: searched(gate=optaxls.every(2)),
    "on_subset": lambda: optaxls.on_subset(searched(), True),
}


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", MOVED_BEHIND)
def test_the_gradient_of_a_trial_is_not_taken_where_the_step_was_another(name, debug):
    """Neither where the params moved on behind the search, nor where none was made.

    Under ``jax_debug_nans`` no NaN tells that a loss was not evaluated.
    """
    optimizer = optax.chain(optax.scale(-1.0), MOVED_BEHIND[name]())
    with jax.debug_nans(debug):
        result = optaxls.minimize(
            lambda w: loss(w) + 1.0, START, optimizer, max_steps=4
        )
    assert result.num_steps == 4
    np.testing.assert_allclose(result.value, loss(result.params) + 1.0, rtol=1e-5)
    largest = jnp.max(jnp.abs(SCALES * result.params))
    np.testing.assert_allclose(result.optimality, largest, rtol=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_from_the_state_of_an_earlier_result():
    """As if it had been one run; trials are counted on their own."""
    optimizer = optaxls.sls(steps_per_epoch=1)

    def run(start, steps, opt_state=None):
        return optaxls.minimize(
            loss, start, optimizer, max_steps=steps, tolerance=0.0, opt_state=opt_state
        )

    whole, first = run(START, 4), run(START, 2)
    rest = run(first.params, 2, first.opt_state)
    np.testing.assert_array_equal(rest.params, whole.params)
    assert first.num_trials + rest.num_trials == whole.num_trials
    assert whole.num_trials == whole.num_evaluations - 5 > 4


@pytest.mark.slow
def test_extra_reaches_the_optimizer_at_the_params_of_the_step():
    """With the lowest loss a Polyak step converges; with a bound of 0 it is long."""

    def loss(w):
        return 0.5 * jnp.sum((w - 1.0) ** 2) + 3.0

    optimizer = optaxls.sps(max_step_size=3.0)
    told = {"extra": lambda w: {"lower_bound": 3.0 + 0.0 * jnp.sum(w)}}
    for callback in (None, lambda progress: False):
        found = optaxls.minimize(
            loss, jnp.zeros(2), optimizer, max_steps=50, callback=callback, **told
        )
        assert found.converged and jnp.allclose(found.params, 1.0)
    assert not optaxls.minimize(loss, jnp.zeros(2), optimizer, max_steps=50).converged


@pytest.mark.slow
def test_with_predictions_newton_makes_gauss_newton_steps():
    """Rosenbrock's valley as least squares. Measured: 10 steps, without them 21."""

    def residuals(w):
        return jnp.stack([1.0 - w[0], 10.0 * (w[1] - w[0] ** 2)])

    def half_squares(predictions):
        return 0.5 * jnp.sum(predictions**2)

    def found(extra):
        return optaxls.minimize(
            lambda w: half_squares(residuals(w)),
            jnp.array([-1.2, 1.0]),
            optaxls.newton(damping=1e-6),
            max_steps=60,
            tolerance=1e-4,
            extra=extra,
        )

    told = {"predict_fn": residuals, "prediction_loss_fn": half_squares}
    with_them, without = found(lambda w: told), found(None)
    assert with_them.converged and jnp.allclose(with_them.params, 1.0, atol=1e-3)
    assert with_them.num_steps < 0.6 * without.num_steps


@pytest.mark.parametrize(
    "extra, error, message",
    [
        (3, TypeError, "extra must be a function"),
        (lambda w: 3, TypeError, "extra must return a dict"),
        (lambda w: {"value": w}, ValueError, "'value': minimize passes"),
    ],
)
def test_what_extra_may_not_be_is_named(extra, error, message):
    with pytest.raises(error, match=message):
        optaxls.minimize(jnp.sum, jnp.zeros(2), optaxls.sps(), extra=extra)
