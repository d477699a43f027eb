"""Step by step the published methods, and what makes their variance small."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls import prox
from tests.optimizers.finite_sums import sums
from tests.optimizers.finite_sums.sums import METHODS, D, N, Oracle

WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 1.0, 0.0, 1.0, 4.0])
VARIANTS = {
    "plain": {},
    "l2": {"l2": 0.3},
    "weights": {"l2": 0.05, "weights": WEIGHTS},
}
CASES = [
    ("sag", "plain", sums.LARGEST),
    ("saga", "weights", 4 * sums.LARGEST),
    ("svrg", "l2", sums.LARGEST),
    ("sag", "weights", None),
    pytest.param("saga", "l2", None, marks=pytest.mark.slow),
    pytest.param("svrg", "weights", None, marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "variant", "lipschitz"), CASES)
def test_every_step_is_that_of_the_method_in_plain_numpy(method, variant, lipschitz):
    given, indices = VARIANTS[variant], sums.order(50, seed=3)
    oracle = Oracle(method, lipschitz, **given)
    expected = np.array([oracle.step(i) for i in indices])
    with jax.enable_x64(True):
        optimizer = METHODS[method](num_functions=N, lipschitz=lipschitz, **given)
        path, state, reports = sums.trained(
            optimizer, jnp.zeros(D), indices, weights=given.get("weights")
        )
        np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-9)
        share = 1 if method == "sag" else 3
        found = 1 / (share * reports["step_size"][-1])
        assert float(found) == pytest.approx(oracle.smoothness)
    assert (lipschitz is None) == bool(jnp.all(reports["num_trials"] >= 1)) or (
        variant == "weights"  # the example of no weight is not searched along
    )


def test_a_prefix_of_l2_leaves_the_intercept_alone():
    """The minimum of the mean loss with a penalty on the slope only."""

    def loss(params, index):
        return sums.example_loss(params["w"], index) + 0.5 * (params["b"] - index) ** 2

    optimizer = optaxls.sag(num_functions=N, l2={"w": 0.5, "b": 0.0})
    step = optaxls.make_step(loss, optimizer, extra=sums.with_index)

    def body(carry, index):
        result = step(*carry, index)
        return (result.params, result.opt_state), None

    params = {"w": jnp.zeros(D), "b": jnp.zeros(())}
    indices = jnp.asarray(sums.order(150 * N))
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(body, c, indices))(
        (params, optimizer.init(params))
    )
    np.testing.assert_allclose(params["w"], sums.solution(0.5), atol=1e-4)
    assert float(params["b"]) == pytest.approx((N - 1) / 2, abs=1e-4)


def directions(optimizer, state, w, weights=None):
    """What each function would add to ``w``, from one and the same state."""

    @jax.jit
    @jax.vmap
    def added(index):
        value, grad = jax.value_and_grad(sums.example_loss)(w, index)
        return optimizer.update(
            grad, state, w, value=value, grad=grad, index=index,
            grad_fn=jax.grad(lambda at: sums.example_loss(at, index)),
            snapshot_grad=sums.full_grad(w, weights),
        )[0]  # fmt: skip

    return np.asarray(added(jnp.arange(N)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["saga", "svrg"])
def test_the_mean_over_all_functions_is_the_gradient(method):
    optimizer = METHODS[method](num_functions=N, lipschitz=sums.LARGEST)
    path, state, _ = sums.trained(optimizer, jnp.zeros(D), np.r_[np.arange(N), 2, 5])
    w = path[-1] + 0.1
    found = directions(optimizer, state, w)
    mean = -found.mean(axis=0) * 3 * sums.LARGEST
    np.testing.assert_allclose(mean, sums.full_grad(w), rtol=1e-4, atol=1e-5)
    # And it is not that gradient for each of them.
    assert np.std(found, axis=0).min() > 1e-4


def test_at_the_snapshot_nothing_varies():
    optimizer = optaxls.svrg(num_functions=N, lipschitz=sums.LARGEST)
    w = jnp.array([0.3, 0.2, 0.1])
    found = directions(optimizer, optimizer.init(w), w)
    expected = -sums.full_grad(w) / (3 * sums.LARGEST)
    np.testing.assert_allclose(found, np.tile(expected, (N, 1)), rtol=1e-5, atol=1e-7)


def test_sag_steps_along_the_mean_of_its_table():
    optimizer = optaxls.sag(num_functions=N, lipschitz=sums.LARGEST)
    path, state, _ = sums.trained(optimizer, jnp.zeros(D), [1, 4, 4, 6])
    table = np.asarray(state.pair.table)
    assert np.flatnonzero(np.abs(table).sum(axis=1)).tolist() == [1, 4, 6]
    # Of three functions seen, not of eight.
    step = (path[-1] - path[-2]) * sums.LARGEST
    np.testing.assert_allclose(step, -table.sum(axis=0) / 3, rtol=1e-5)
    np.testing.assert_allclose(state.pair.total, table.sum(axis=0), rtol=1e-5)
    assert optaxls.metrics(state)["num_seen"] == 3


@pytest.mark.slow
def test_a_function_without_a_gradient_is_no_reason_to_stay():
    """An example beyond the margin of a hinge: the table still tells where to go."""
    losses = lambda w, i: jnp.array([0.5, 0.0])[i] * (w - 1.0) ** 2  # noqa: E731
    optimizer = optaxls.sag(num_functions=2)
    step = jax.jit(optaxls.make_step(losses, optimizer, extra=sums.with_index))
    first = step(jnp.array(0.0), optimizer.init(jnp.array(0.0)), jnp.array(0))
    second = step(first.params, first.opt_state, jnp.array(1))
    assert second.metrics["accepted"] and second.metrics["num_trials"] == 0
    # Half of the gradient that was seen, -1, times a step size grown by sqrt(2).
    moved = second.params - first.params
    assert float(moved) == pytest.approx(0.5 * float(second.metrics["step_size"]))
    assert optaxls.metrics(second.opt_state)["num_seen"] == 2


METHOD = [
    pytest.param(name, marks=() if name == "sag" else pytest.mark.slow)
    for name in METHODS
]


@pytest.mark.parametrize("method", METHOD)
def test_a_proximal_operator_ends_where_no_subgradient_is_left(method):
    """Elastic net: the smooth gradient is -weight * sign(w), or less where w is 0."""
    given = {"l2": 0.1, "prox": prox.l1(0.4)}
    optimizer = METHODS[method](num_functions=N, **given)
    path, _, _ = sums.trained(optimizer, jnp.zeros(D), sums.order(200 * N))
    w = path[-1]
    slope = np.asarray(sums.full_grad(w) + 0.1 * w)
    zero = np.asarray(w == 0)
    assert np.all(np.abs(slope[zero]) <= 0.4 + 1e-3)
    np.testing.assert_allclose(slope[~zero], -0.4 * np.sign(w)[~zero], atol=1e-3)
    assert not zero.all()


def test_a_snapshot_is_taken_when_it_is_due_and_given():
    optimizer = optaxls.svrg(num_functions=N, lipschitz=50.0, steps_per_snapshot=3)
    path, state, reports = sums.trained(optimizer, jnp.zeros(D), sums.order(7))
    assert reports["num_snapshots"].tolist() == [1, 1, 1, 2, 2, 2, 3]
    assert not optaxls.snapshot_due(state)
    np.testing.assert_array_equal(state.pair.snapshot, path[5])
    # Without the gradient, or with one that is not finite, it stays due.
    w, grad = path[-1], jnp.ones(D)

    @jax.jit
    def step(full):
        return optimizer.update(
            grad, optimizer.init(w), w, value=1.0, grad=grad, index=0,
            grad_fn=lambda at: grad, snapshot_grad=full,
        )  # fmt: skip

    for full in (None, jnp.full(D, jnp.nan)):
        updates, state = step(full)
        assert optaxls.snapshot_due(state)
        # Until then it is SGD.
        np.testing.assert_allclose(updates, -grad / 150, rtol=1e-6)


def test_loopless_snapshots_come_at_random_and_at_their_rate():
    optimizer = optaxls.loopless_svrg(
        num_functions=N, lipschitz=50.0, snapshot_probability=0.25, seed=1
    )
    _, state, reports = sums.trained(optimizer, jnp.zeros(D), sums.order(400))
    taken = np.diff(np.r_[0, reports["num_snapshots"]])
    assert 75 <= taken.sum() <= 125
    gaps = np.diff(np.flatnonzero(taken))
    assert gaps.min() == 1 and gaps.max() > 8


@pytest.mark.slow
def test_in_a_chain_and_with_further_arguments():
    chain = optax.chain(optax.clip_by_global_norm(1e3), optaxls.sag(num_functions=N))
    path, state, _ = sums.trained(chain, jnp.zeros(D), sums.order(60 * N))
    np.testing.assert_allclose(path[-1], sums.solution(), atol=2e-3)
    assert optaxls.metrics(state)["num_seen"] == N
