"""Bad examples, bad indices: what must stay as it was, and what comes after."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from tests.optimizers.finite_sums import sums
from tests.optimizers.finite_sums.sums import METHODS, D, N

NAN, INF = float("nan"), float("inf")
# Factors on loss, gradient and trials.
FAULTS = {
    "nan_example": (NAN, NAN, NAN),
    "inf_gradient": (1.0, INF, 1.0),
    "overflow": (1e30, 1e30, 1e30),
    "exploded": (1e6, 1e6, 1e6),
    "no_finite_trial": (1.0, 1.0, NAN),
}


def faulty_step(optimizer):
    """``(w, state, index, factors) -> (w, state, updates)``, jitted."""

    @jax.jit
    def step(w, state, index, factors):
        value_fn = lambda at: sums.example_loss(at, index) * factors[2]  # noqa: E731
        value, grad = jax.value_and_grad(sums.example_loss)(w, index)
        grad = grad * factors[1]
        updates, state = optimizer.update(
            grad, state, w, value=value * factors[0], grad=grad, value_fn=value_fn,
            grad_fn=jax.grad(value_fn), index=index, snapshot_grad=sums.full_grad(w),
        )  # fmt: skip
        return w + updates, state, updates

    return step


def remembered(state) -> Any:
    """The table and what its mean is made of; of SVRG the snapshot."""
    names = ("table", "total", "seen", "seen_weight", "snapshot", "snapshot_grad")
    return {
        name: np.asarray(getattr(state.pair, name))
        for name in names
        if hasattr(state.pair, name)
    }


GOOD = jnp.ones(3)


@pytest.fixture(scope="module", params=["sag", "svrg"])
def warm(request):
    """An optimizer, its step, and params and state after five passes."""
    optimizer = METHODS[request.param](num_functions=N)
    step, w = faulty_step(optimizer), jnp.zeros(D)
    state = optimizer.init(w)
    for index in np.tile(np.arange(N), 5)[:-1]:
        w, state, _ = step(w, state, index, GOOD)
    return step, w, state


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_example_changes_neither_params_nor_memory(warm, fault):
    step, w, state = warm
    _, after, updates = step(w, state, 2, jnp.array(FAULTS[fault]))
    assert not np.any(updates)
    before = remembered(state)
    for name, array in remembered(after).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    report, earlier = optaxls.metrics(after), optaxls.metrics(state)
    assert report["num_left_out"] == earlier["num_left_out"] + 1
    assert not report["accepted"] and report["step_size"] == 0
    # The next example is searched from where the last good one ended, after a failed
    # search from the next but one.
    for index in (3, 4):
        w, after, updates = step(w, after, index, GOOD)
    last = optaxls.metrics(after)["step_size"]
    assert 0.4 < last / earlier["step_size"] < 2 and np.any(updates)


def _all(tree) -> bool:
    return all(jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize("index", [-1, N, 2**31 - 1])
def test_an_index_out_of_range_changes_nothing_inside_jit(warm, index):
    step, w, state = warm
    _, after, updates = step(w, state, index, GOOD)
    assert not np.any(updates)
    same = jax.tree.map(np.array_equal, after.pair, state.pair)
    changed = [name for name, kept in same._asdict().items() if not _all(kept)]
    assert changed == ["report"]
    assert optaxls.metrics(after)["num_trials"] == 0
    memories = after.step_rule.initial_step, state.step_rule.initial_step
    assert _all(jax.tree.map(np.array_equal, *memories))


@pytest.mark.parametrize("method", METHODS)
def test_outside_of_jit_a_wrong_index_is_an_error(method):
    optimizer, w = METHODS[method](num_functions=N, lipschitz=1.0), jnp.zeros(D)
    state, given = optimizer.init(w), {"value": 0.0, "grad": w, "grad_fn": lambda w: w}
    for index in (-1, N, np.int64(N)):
        with pytest.raises(ValueError, match=rf"{method}: index must lie in \[0, 8\)"):
            optimizer.update(w, state, w, index=index, **given)
    for index in (1.0, True, jnp.arange(2), "0"):
        with pytest.raises(TypeError, match=f"{method}: index must be one integer"):
            optimizer.update(w, state, w, index=index, **given)
    with pytest.raises(TypeError, match=f"{method}: update\\(\\) needs 'index'"):
        optimizer.update(w, state, w, **given)


def test_a_function_that_is_always_nan_is_left_out_of_the_sum():
    def loss(w, index, *rest):
        return jnp.where(index == 3, jnp.nan, sums.example_loss(w, index))

    optimizer = optaxls.sag(num_functions=N)
    path, state, _ = sums.trained(optimizer, jnp.zeros(D), sums.order(90 * N), loss)
    keep = [index for index in range(N) if index != 3]
    np.testing.assert_allclose(path[-1], sums.solution(keep=keep), atol=1e-3)
    assert optaxls.metrics(state)["num_seen"] == N - 1


def test_a_function_that_is_always_steep_stays_in_the_sum():
    """Its gradient is a thousand times as long as the others': believed at last."""
    steep = jnp.ones(N).at[2].set(1e3)

    def loss(w, index, *rest):
        return 0.5 * steep[index] * (w - index) ** 2

    optimizer = optaxls.sag(num_functions=N)
    step = optaxls.make_step(loss, optimizer, extra=sums.with_index)

    def body(carry, index):
        result = step(*carry, index)
        return (result.params, result.opt_state), result.metrics

    w = jnp.array(5.0)
    (w, state), _ = jax.jit(lambda c, i: jax.lax.scan(body, c, i))(
        (w, optimizer.init(w)), jnp.tile(jnp.arange(N), 60)
    )
    exact = float(jnp.sum(steep * jnp.arange(N)) / jnp.sum(steep))
    assert float(w) == pytest.approx(exact, abs=1e-3)
    assert optaxls.metrics(state)["num_seen"] == N


@pytest.mark.parametrize(
    "method", ["sag", pytest.param("svrg", marks=pytest.mark.slow)]
)
def test_one_exploded_example_costs_a_pass_or_two(method):
    optimizer = METHODS[method](num_functions=N)
    step, ends = faulty_step(optimizer), {}
    for fault in (None, "exploded", "nan_example"):
        w = jnp.zeros(D)
        state = optimizer.init(w)
        for k, index in enumerate(sums.order(30 * N)):
            bad = fault is not None and k == 10 * N
            factors = jnp.array(FAULTS[fault]) if bad else GOOD
            w, state, _ = step(w, state, index, factors)
        ends[fault] = float(jnp.max(jnp.abs(w - sums.solution())))
    start = np.max(np.abs(sums.solution()))
    assert ends[None] < 0.05 * start
    assert max(ends.values()) < 4 * ends[None] + 1e-3, ends


class _Identity:
    def prox(self, params, step_size):
        return params


def test_what_an_argument_must_be():
    for weights in (1.0, "ones", np.ones(N + 1), -np.ones(N), np.full(N, NAN)):
        with pytest.raises(ValueError, match="^weights must"):
            optaxls.sag(num_functions=N, weights=weights)
    with pytest.raises(ValueError, match="weights must not all be 0"):
        optaxls.saga(num_functions=N, weights=np.zeros(N))
    with pytest.raises(ValueError, match="num_functions must be an integer"):
        optaxls.sag(num_functions=jnp.array(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="prox must be None or have a method"):
        optaxls.svrg(num_functions=N, prox=lambda w, step_size: w)
    with pytest.raises(ValueError, match="l2 must be one number where prox is given"):
        optaxls.svrg(num_functions=N, l2={"w": 1.0}, prox=_Identity())
