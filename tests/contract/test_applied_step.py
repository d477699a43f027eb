"""After every step: step size, updates and trial value speak of one point."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems
from tests.contract.prox_rows import LASSO, PENALISED
from tests.problems import FAILED_SEARCH, GOOD, NON_FINITE, RULES, Fault
from tests.rows import rows

# What goes on after the rule moves the params by more than its step.
SINGLE = [name for name, case in RULES.items() if not case.goes_on]
FAULTS = [GOOD, GOOD]
for fault in (*NON_FINITE.values(), *FAILED_SEARCH.values(), Fault(1e3, 1e3, 1e3)):
    FAULTS += [fault, GOOD]


@pytest.mark.slow(one_in=3)
@rows("sls", "ponos", "salsa", among=SINGLE)
def test_the_trial_value_is_the_loss_after_the_step_or_not_known(name):
    for fault, record in zip(FAULTS, problems.run(name, FAULTS), strict=True):
        state = record["state"]
        step_size = float(optax.tree.get(state, "step_size"))
        trial_value = float(optax.tree.get(state, "trial_value"))
        still = not any(jnp.any(u) for u in jax.tree.leaves(record["updates"]))
        assert (step_size == 0) == still or problems.quadratic(record["params"]) < 1e-12
        if trial_value != trial_value or name == "sls_extragradient":
            continue
        if step_size == 0:
            value = float(optax.tree.get(state, "value"))
            assert trial_value == value
            continue
        after = problems.quadratic(record["params"]) * fault.trial + fault.offset
        if name in PENALISED:
            after += LASSO.penalty(record["params"])
        assert trial_value == pytest.approx(float(after), rel=1e-5, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto", "sps", "ponos"])
def test_a_search_for_nan_finds_none_in_five_good_steps(name):
    """Under ``jax_debug_nans`` a NaN is an error, also one that means "not known"."""
    optimizer = RULES[name].make()
    with jax.debug_nans(True):
        step = jax.jit(optaxls.make_step(problems.quadratic, optimizer))
        params = problems.quadratic_params()
        state = optimizer.init(params)
        for _ in range(5):
            params, state, *_ = step(params, state)
    assert jnp.isfinite(optax.tree.get(state, "trial_value"))
