"""Adam's preconditioner: directions against plain Python, and what is applied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls

GRADS = [[1.0, -2.0], [0.5, 4.0], [-3.0, 0.25]]
B1, B2, EPS, STEP = 0.5, 0.75, 1e-8, 0.125


def oracle(variant, b1=B1, first_count=0):
    """Searched and applied displacements of step size STEP, from the formulas."""
    history = []
    m, v, v_max = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for count, grad in enumerate(GRADS, start=1 + first_count):
        searched, applied = [], []
        for j, g in enumerate(grad):
            m[j] = b1 * m[j] + (1 - b1) * g
            v[j] = (
                v[j] + g * g if variant == "adagrad" else B2 * v[j] + (1 - B2) * g * g
            )
            v_max[j] = max(v_max[j], v[j])
            second = v_max[j] if variant == "amsgrad" else v[j]
            if variant in ("adam", "amsgrad"):
                second /= 1 - B2**count
            precondition = 1 / (second**0.5 + EPS)
            searched.append(-STEP * precondition * g)
            applied.append(-STEP * precondition * m[j] / (1 - b1**count))
        history.append((searched, applied))
    return history


def trajectory(step_rule=None, **arguments):
    """Updates and states over GRADS, in float64."""
    with jax.enable_x64(True):
        rule = step_rule or optaxls.scale_by_initial_step(optaxls.constant(STEP))
        tx = optaxls.scale_by_preconditioned_search(rule, b2=B2, **arguments)
        w = jnp.array([10.0, 10.0])
        state, history = tx.init(w), []
        for grad in GRADS:
            g = jnp.array(grad)
            given = {"value": jnp.array(1.0), "grad": g, "value_fn": lambda w: 0.0}
            updates, state = tx.update(g, state, w, **given)
            history.append((updates.tolist(), state))
    return history


VARIANTS = ["adam", "amsgrad", "adagrad", "rmsprop"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_momentum_the_update_is_the_papers(variant):
    ours = trajectory(variant=variant, b1=B1)
    for (updates, _), (_, applied) in zip(ours, oracle(variant), strict=True):
        assert updates == pytest.approx(applied, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_search_sees_no_momentum(variant):
    ours = trajectory(variant=variant, b1=B1)
    for grad, (_, state), (searched, _) in zip(
        GRADS, ours, oracle(variant), strict=True
    ):
        slope = sum(g * d / STEP for g, d in zip(grad, searched, strict=True))
        assert float(state.step_rule.slope) == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_momentum_the_searched_direction_is_applied(variant):
    ours = trajectory(variant=variant, b1=0.0)
    for (updates, state), (searched, _) in zip(ours, oracle(variant), strict=True):
        assert updates == pytest.approx(searched, rel=1e-9)
        assert state.pair.first_moment == ()


def test_a_constant_step_is_optax_adam():
    adam = optax.adam(STEP, b1=B1, b2=B2, eps=EPS)
    ours = trajectory(b1=B1)
    with jax.enable_x64(True):
        w = jnp.array([10.0, 10.0])
        state = adam.init(w)
        for grad, (updates, _) in zip(GRADS, ours, strict=True):
            expected, state = adam.update(jnp.array(grad), state, w)
            assert updates == pytest.approx(expected.tolist(), rel=1e-9)


def test_searching_along_the_momentum_is_possible():
    """b1 = search_b1: the slope is that of the momentum direction."""
    ours = trajectory(b1=B1, search_b1=B1)
    for grad, (_, state), (_, applied) in zip(GRADS, ours, oracle("adam"), strict=True):
        slope = sum(g * d / STEP for g, d in zip(grad, applied, strict=True))
        if slope < 0:
            assert float(state.step_rule.slope) == pytest.approx(slope, rel=1e-9)
        else:
            assert state.step_rule.step_size == 0


def test_an_uphill_momentum_direction_is_not_followed():
    with jax.enable_x64(True):
        rule = optaxls.scale_by_initial_step(optaxls.constant(STEP))
        tx = optaxls.scale_by_preconditioned_search(rule, b1=0.9, search_b1=0.9)
        w = jnp.array([1.0])
        state = tx.init(w)
        for grad in ([5.0], [-0.1]):
            g = jnp.array(grad)
            updates, state = tx.update(g, state, w, value=jnp.array(1.0), grad=g)
    assert updates.tolist() == [0.0] and not state.step_rule.accepted


@pytest.mark.parametrize("num_trials", [0, 1])
def test_salsa_applies_what_it_tested_and_momentum_where_it_did_not(num_trials):
    gate = optaxls.every(2)
    rule = optaxls.scale_by_line_search(
        optaxls.always_accept(), optaxls.constant(STEP), gate=gate
    )
    ours = trajectory(rule, b1=B1, applied=optaxls.as_searched)
    expected = oracle("adam")
    step = 1 - num_trials
    assert ours[step][1].step_rule.num_trials == num_trials
    assert ours[step][0] == pytest.approx(expected[step][1 - num_trials], rel=1e-9)


def test_the_first_count_shifts_the_bias_correction():
    ours = trajectory(b1=B1, first_count=1)
    for (updates, _), (_, applied) in zip(
        ours, oracle("adam", first_count=1), strict=True
    ):
        assert updates == pytest.approx(applied, rel=1e-9)


def test_moments_are_float32_with_bfloat16_params():
    w = {"w": jnp.ones(2, jnp.bfloat16)}
    state = optaxls.adam_sls(steps_per_epoch=1, b1=0.9, variant="amsgrad").init(w)
    for tree in state.pair[1:]:
        assert tree["w"].dtype == jnp.float32


def test_a_tiny_gradient_of_bfloat16_params_is_remembered():
    """1e-3 g^2 added to v = g^2 is lost in bfloat16 but not in float32 moments."""
    rule = optaxls.scale_by_initial_step(optaxls.constant(1.0))
    tx = optaxls.scale_by_preconditioned_search(rule, b1=0.0, b2=0.999)
    w, g = jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.bfloat16)
    state = tx.init(w)
    given = {"value": jnp.array(1.0), "grad": g}
    for _ in range(3):
        _, state = tx.update(g, state, w, **given)
    assert float(state.pair.second_moment[0]) == pytest.approx(0.002997, rel=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_exploded_gradient_enters_as_ten_times_the_usual_one(variant):
    """And so the steps after it are of the usual length, all but for the factor."""

    def second_moments(size):
        tx = optaxls.scale_by_preconditioned_search(
            optaxls.scale_by_initial_step(optaxls.constant(STEP)),
            variant=variant, b1=0.0, b2=0.9,
        )  # fmt: skip
        w = jnp.ones(2)
        state, moments = tx.init(w), []
        for factor in (1.0, 1.0, 1.0, size):
            g = factor * jnp.array([3.0, 4.0])
            _, state = tx.update(g, state, w, value=jnp.array(1.0), grad=g)
            moments.append(state.pair.second_moment)
        return moments

    *_, before, at_the_bound = second_moments(10.0)
    for size in (1e3, 1e9):
        exploded = second_moments(size)[-1]
        np.testing.assert_allclose(exploded, at_the_bound, rtol=1e-4)
    kept, fresh = (1.0, 1.0) if variant == "adagrad" else (0.9, 0.1)
    below = kept * before + fresh * 9.9**2 * np.array([9.0, 16.0])
    np.testing.assert_allclose(second_moments(9.9)[-1], below, rtol=1e-4)
