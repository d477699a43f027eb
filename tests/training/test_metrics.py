"""Reading the scalars out of any nested state."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls._core.reports import find_reports
from tests import problems
from tests.problems import GOOD


def search(step_size):
    return optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.constant(step_size)
    )


def test_the_rules_own_scalars_are_included():
    record = problems.run("ponos", [GOOD] * 2)[-1]
    report = optaxls.metrics(record["state"])
    memory = optax.tree.get(record["state"], "condition")
    assert report["mean_value"] is memory.mean_value
    assert {"value", "slope", "trial_value", "total_weight", "start"} <= set(report)
    assert report["trial_value"] == pytest.approx(
        float(problems.quadratic(record["params"])), rel=1e-5
    )


def test_it_finds_a_rule_however_deep():
    optimizer = optax.inject_hyperparams(
        lambda c: optax.chain(
            optax.clip(1.0),
            optax.apply_if_finite(optax.named_chain(("rule", optaxls.sps(c=c))), 3),
        )
    )(c=0.5)
    w = jnp.array([0.5])
    state = optimizer.init(w)
    _, state = optimizer.update(w, state, w, value=jnp.array(0.125), grad=w)
    assert float(optaxls.metrics(state)["step_size"]) == pytest.approx(1.0)


def test_a_state_without_a_rule_reports_nothing():
    assert optaxls.metrics(optax.adam(1e-3).init(jnp.ones(2))) == {}
    assert optaxls.metrics(()) == {}


def test_several_rules_are_numbered_in_the_order_of_the_chain():
    chain = optax.chain(optax.scale(-1.0), search(0.5), search(0.25), search(1.0))
    w = jnp.array([1.0])
    given = {"grad": w, "value_fn": lambda w: 0.5 * jnp.sum(w**2)}
    _, state = chain.update(w, chain.init(w), w, value=jnp.array(0.5), **given)
    report = optaxls.metrics(state)
    steps = [float(report[f"step_size_{index}"]) for index in range(3)]
    assert steps == [0.5, 0.25, 1.0]
    names = {"step_size", "num_trials", "accepted", "value", "slope", "trial_value"}
    assert set(report) == {f"{name}_{index}" for name in names for index in range(3)}


def test_arrays_are_not_scalars():
    tx = optaxls.scale_by_line_search(
        optaxls.window_armijo(0.1, window=3), optaxls.barzilai_borwein()
    )
    report = optaxls.metrics(tx.init(jnp.ones(2)))
    assert "recent_values" not in report and "last_params" not in report
    assert all(leaf.shape == () for leaf in report.values())


def test_a_vmapped_state_reports_one_number_per_lane():
    tx = optaxls.scale_by_line_search(
        optaxls.window_armijo(0.1, window=3), optaxls.polyak(memory=0.5)
    )
    report = optaxls.metrics(jax.vmap(tx.init)(jnp.ones((4, 2))))
    assert "recent_values" not in report
    assert all(leaf.shape == (4,) for leaf in report.values())


def test_it_works_inside_jit():
    tx = search(0.5)
    report = jax.jit(lambda w: optaxls.metrics(tx.init(w)))(jnp.ones(2))
    assert report["step_size"] == 0 and report["num_trials"].dtype == jnp.int32


def on_the_host(state):
    return {
        "numpy": jax.device_get(state),
        "generic": jax.tree.map(lambda leaf: np.asarray(leaf)[()], state),
        "python": jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), state),
    }


@pytest.mark.parametrize("kind", ["numpy", "generic", "python"])
@pytest.mark.parametrize("num_rules", [1, 2])
def test_a_state_on_the_host_reports_what_it_did_on_the_device(kind, num_rules):
    rules = [search(0.5), optaxls.scale_by_initial_step(optaxls.polyak())]
    chain = optax.chain(optax.scale(-1.0), *rules[:num_rules])
    w = jnp.array([1.0])
    given = {"grad": w, "value_fn": lambda w: 0.5 * jnp.sum(w**2)}
    _, state = chain.update(w, chain.init(w), w, value=jnp.array(0.5), **given)
    wanted = optaxls.metrics(state)
    found = optaxls.metrics(on_the_host(state)[kind])
    told = {name: leaf.item() for name, leaf in wanted.items()}
    chex.assert_trees_all_equal(jax.tree.map(float, found), jax.tree.map(float, told))
    assert len(found) >= 6 * num_rules


def test_a_state_of_shapes_reports_nothing():
    tx = search(0.5)
    assert optaxls.metrics(jax.eval_shape(tx.init, jnp.ones(2))) == {}


def test_a_key_is_no_number_for_a_logger():
    class Memory(NamedTuple):
        step_size: jax.Array
        num_trials: jax.Array
        accepted: jax.Array
        key: jax.Array

    report = Memory(jnp.array(0.5), jnp.array(1), jnp.array(True), jax.random.key(0))
    assert set(optaxls.metrics(report)) == {"step_size", "num_trials", "accepted"}


def test_reports_are_found_in_the_order_of_the_chain():
    chain = optax.chain(optax.scale(-1.0), search(0.5), optax.trace(0.9), search(0.25))
    state: Any = chain.init(jnp.ones(2))
    assert find_reports(state) == [state[1], state[3]]
    assert find_reports(optax.adam(0.1).init(jnp.ones(2))) == []
