"""Reading the scalars out of any nested state."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
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
    assert {"value", "slope", "trial_value", "total_weight", "level"} <= set(report)
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
