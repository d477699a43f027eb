"""The search as a transformation and as a function."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls


def half_square(w):
    return 0.5 * jnp.sum(w**2)


def test_the_state_says_what_happened():
    tx = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.constant(4.0), optaxls.backtracking(0.5)
    )
    w = jnp.array([3.0])
    updates, state = tx.update(
        -w, tx.init(w), w, value=jnp.array(4.5), grad=w, value_fn=half_square
    )
    # Accepts eta <= 2 (1 - c) / L = 1: 4, 2, 1.
    assert updates[0] == -3.0
    assert (state.step_size, state.num_trials, state.accepted) == (1.0, 3, True)
    assert (state.value, state.slope, state.trial_value) == (4.5, -9.0, 0.0)


def test_the_function_equals_the_transformation_and_carries_its_memories():
    parts = optaxls.zhang_hager(0.5), optaxls.polyak(0.1, memory=0.5)
    search = optaxls.backtracking(0.5)
    tx = optaxls.scale_by_line_search(*parts, search)
    w = at = jnp.array([1.0, -3.0])
    state, memories = tx.init(w), None
    curvatures = jnp.array([1.0, 5.0])

    def loss(w):
        return 0.5 * jnp.sum(curvatures * w**2)

    for _ in range(5):
        value, grad = jax.value_and_grad(loss)(w)
        updates, state = tx.update(
            -grad, state, w, value=value, grad=grad, value_fn=loss
        )
        result = optaxls.line_search(
            loss,
            at,
            -grad,
            value=value,
            grad=grad,
            condition=parts[0],
            initial_step=parts[1],
            search=search,
            memories=memories,
        )
        w, at, memories = (
            optax.apply_updates(w, updates),
            result.params,
            result.memories,
        )
        chex.assert_trees_all_equal(at, w)
        assert result.step_size == state.step_size
        assert result.value == state.trial_value == loss(at)
        assert result.num_trials == state.num_trials
    assert memories is not None
    chex.assert_trees_all_equal(memories.condition, state.condition)
    chex.assert_trees_all_equal(memories.initial_step, state.initial_step)


def test_the_displacement_is_the_step_times_the_direction():
    """Not (w + eta d) - w, which in float32 is 0 beside a weight of 1e8."""
    w, direction = jnp.array([1e8, 1.0]), jnp.array([-0.5, -1.0])
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(0.25))
    updates, _ = tx.update(
        direction,
        tx.init(w),
        w,
        value=jnp.array(2.0),
        grad=jnp.array([0.0, 1.0]),
        value_fn=lambda w: w[1],
    )
    assert updates.tolist() == [-0.125, -0.25]


def test_a_path_of_ones_own_bends_the_step():
    """Projection onto w >= 0: the trial sees, and the update is, the projected step."""

    def projected(origin, step_size):
        straight = optaxls.along_direction.displace(origin, step_size)
        new = jnp.maximum(origin.params + straight.updates, 0)
        updates = new - origin.params
        slope = jnp.vdot(origin.grad, updates)
        return optaxls.Displacement(updates, slope, jnp.vdot(updates, updates))

    seen = []

    def loss(w):
        seen.append(w)
        return half_square(w - jnp.array([-1.0, 1.0]))

    w = jnp.array([1.0, 3.0])
    grad = w - jnp.array([-1.0, 1.0])
    result = optaxls.line_search(
        loss,
        w,
        -grad,
        value=loss(w),
        grad=grad,
        condition=optaxls.armijo(0.1),
        initial_step=optaxls.constant(1.0),
        path=optaxls.Path(projected, optaxls.along_direction.predicted_slope),
    )
    assert result.params.tolist() == [0.0, 1.0] == seen[-1].tolist()
    assert result.accepted


def test_complex_params_descend_along_the_conjugate_gradient():
    def loss(w):
        return jnp.sum(jnp.abs(w - (1 + 2j)) ** 2)

    w = jnp.array([0j, 3j])
    value, grad = jax.value_and_grad(loss)(w)
    tx = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.constant(1.0), optaxls.backtracking(0.5)
    )
    direction = -jnp.conj(grad)
    updates, state = tx.update(
        direction, tx.init(w), w, value=value, grad=grad, value_fn=loss
    )
    assert float(state.slope) == pytest.approx(-float(jnp.sum(jnp.abs(grad) ** 2)))
    # Curvature 2 along the straight line: eta = 1 / 2 reaches the minimum.
    assert jnp.allclose(w + updates, 1 + 2j)


@pytest.mark.parametrize("wrapper", ["masked", "partition", "flatten"])
def test_a_wrapper_that_changes_the_updates_only_is_refused_by_name(wrapper):
    """Their tree is not that of ``grad``, and value_fn would get half a tree."""
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    wrapped = {
        "masked": lambda: optax.masked(tx, {"a": True, "b": False}),
        "partition": lambda: optax.partition(
            {"search": tx, "freeze": optax.set_to_zero()},
            {"a": "search", "b": "freeze"},
        ),
        "flatten": lambda: optax.flatten(tx),
    }[wrapper]()
    w = {"a": jnp.ones(2), "b": jnp.ones((2, 2))}
    given = {"grad": w, "value_fn": lambda w: half_square(w["a"])}
    refusal = r"(?s)(same leaves|are masked).*optaxls\.on_subset"
    with pytest.raises(TypeError, match=refusal):
        wrapped.update(w, wrapped.init(w), w, value=jnp.array(1.0), **given)


@pytest.mark.parametrize("bad", [jnp.ones(2), jnp.ones((1, 1))])
def test_a_loss_that_is_no_scalar_is_refused(bad):
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    w = jnp.array([1.0])
    given = {"grad": w, "value_fn": half_square}
    with pytest.raises(ValueError, match=r"scalar.*shape"):
        tx.update(-w, tx.init(w), w, value=bad, **given)
    given["value_fn"] = lambda w: bad
    with pytest.raises(ValueError, match=r"scalar.*shape"):
        tx.update(-w, tx.init(w), w, value=jnp.array(0.5), **given)


def test_a_complex_loss_is_refused():
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    w = jnp.array([1.0])
    with pytest.raises(TypeError, match="value must be real"):
        tx.update(-w, tx.init(w), w, value=1j, grad=w, value_fn=half_square)


def test_a_python_number_is_a_loss():
    tx = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.constant(1.0))
    w = jnp.array([1.0])
    updates, _ = tx.update(-w, tx.init(w), w, value=0.5, grad=w, value_fn=lambda w: 0.0)
    assert updates[0] == -1.0


def test_an_initial_step_without_grad_takes_the_updates_for_its_negative():
    tx = optaxls.scale_by_initial_step(optaxls.polyak(0.5, eps=0.0))
    w = jnp.array([2.0, 1.0])
    direction = jnp.array([-3.0, 4.0])
    _, state = tx.update(direction, tx.init(w), w, value=jnp.array(5.0))
    assert state.slope == -25.0 and state.step_size == pytest.approx(0.4)


def test_the_polyak_step_follows_the_slope_of_a_preconditioned_direction():
    tx = optaxls.scale_by_initial_step(optaxls.polyak(1.0, eps=0.0))
    w, grad = jnp.array([2.0, 1.0]), jnp.array([1.0, 2.0])
    direction = jnp.array([-4.0, -0.5])
    _, state = tx.update(direction, tx.init(w), w, value=jnp.array(10.0), grad=grad)
    assert state.slope == -5.0 and state.step_size == 2.0


@pytest.mark.parametrize("fallback_step", [0.0, 0.125])
def test_the_fallback_step_of_a_transformation(fallback_step):
    tx = optaxls.scale_by_line_search(
        optaxls.armijo(), optaxls.constant(1.0), fallback_step=fallback_step
    )
    w = jnp.array([1.0])
    search = {"value": jnp.array(0.5), "grad": w, "value_fn": lambda w: 9.0 - w[0]}
    updates, state = tx.update(-w, tx.init(w), w, **search)
    assert not state.accepted
    assert -updates[0] == state.step_size <= fallback_step


def test_trials_are_on_the_loss_at_the_trial_point():
    """value_fn sees params + eta * direction, for each eta in turn."""
    seen = []

    def loss(w):
        seen.append(float(w[0]))
        return half_square(w)

    w = jnp.array([1.0])
    optaxls.line_search(
        loss,
        w,
        jnp.array([-2.0]),
        value=jnp.array(0.5),
        grad=w,
        condition=optaxls.armijo(0.9),
        initial_step=optaxls.constant(1.0),
        search=optaxls.backtracking(0.25),
    )
    assert seen == [-1.0, 0.5, 0.875]
