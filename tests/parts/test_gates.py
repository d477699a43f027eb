"""Gates: which steps are searched, and what an unsearched step does."""

import jax
import jax.numpy as jnp
import pytest

import optaxls
from tests.parts.samples import origin, outcome


def reports(gate, num_steps, curvature=1.0, initial_step=None):
    tx = optaxls.scale_by_line_search(
        optaxls.armijo(0.1), initial_step or optaxls.constant(1.0), gate=gate
    )
    w = jnp.array([1.0])

    def step(state, _):
        def loss(w):
            return 0.5 * curvature * jnp.sum(w**2)

        _, state = tx.update(
            -curvature * w, state, w, value=loss(w), grad=curvature * w, value_fn=loss
        )
        return state, optaxls.metrics(state)

    return jax.lax.scan(step, tx.init(w), length=num_steps)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "gate,pattern",
    [
        (optaxls.always(), [1, 1, 1, 1, 1, 1, 1]),
        (optaxls.first(3), [1, 1, 1, 0, 0, 0, 0]),
        (optaxls.every(3), [1, 0, 0, 1, 0, 0, 1]),
        (optaxls.every(1), [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_which_steps_are_searched(gate, pattern):
    assert reports(gate, 7)["num_trials"].tolist() == pattern


def test_an_unsearched_step_is_the_proposal_and_counts_as_accepted():
    """Curvature 4 would be searched down to 0.45: the proposal 1 is taken untested."""
    report = reports(optaxls.every(2), 2, curvature=4.0)
    assert report["step_size"][0] < 0.46 and report["num_trials"][0] > 1
    assert report["step_size"][1] == 1.0 and report["accepted"][1]
    assert jnp.isnan(report["trial_value"][1])


def test_an_unsearched_step_is_grown_once():
    report = reports(optaxls.first(1), 4, initial_step=optaxls.grow(0.25, 2.0))
    assert report["step_size"].tolist() == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("gate", [optaxls.first(2), optaxls.when_unsteady()])
def test_the_count_of_steps_does_not_overflow(gate):
    top = jnp.iinfo(jnp.int32).max
    memory = gate.init(jnp.ones(1))._replace(num_steps=jnp.array(top, jnp.int32))
    after = gate.commit(memory, origin(), outcome(0.5))
    assert after.num_steps == top


def unsteady_oracle(step_sizes, max_period, warmup, slow_decay, fast_decay):
    """Which of the steps are searched; the step sizes are those found there."""
    slow = fast = 1e-8
    pause, searched = max_period, []
    for index, step_size in enumerate(step_sizes):
        ratio = max(fast / slow, slow / fast)
        period = min(1 / (ratio - 1 + 1e-8), max_period)
        search = index < warmup or pause + 1 >= period
        searched.append(search)
        if search:
            slow = slow_decay * slow + (1 - slow_decay) * step_size
            fast = fast_decay * fast + (1 - fast_decay) * step_size
        pause = 0 if search else min(pause + 1, max_period)
    return searched


def searched_steps(gate, step_sizes):
    """Which steps the gate lets be searched when a search finds ``step_sizes``."""

    def body(memory, step_size):
        search = gate.should_search(memory, origin())
        found = outcome(step_size)._replace(num_trials=search.astype(jnp.int32))
        return gate.commit(memory, origin(), found), search

    memory = gate.init(jnp.ones(1))
    return jax.lax.scan(body, memory, jnp.array(step_sizes))[1].tolist()


@pytest.mark.parametrize("numbers", [(10, 9, 0.99, 0.9), (4, 2, 0.8, 0.3)])
def test_when_unsteady_is_the_papers_arithmetic(numbers):
    steps = [1.0] * 100 + [0.25] * 30 + [0.25 + 0.01 * (k % 3) for k in range(60)]
    searched = searched_steps(optaxls.when_unsteady(*numbers), steps)
    assert searched == unsteady_oracle(steps, *numbers)


def test_when_unsteady_rests_while_the_step_size_does_and_wakes_when_it_moves():
    searched = searched_steps(optaxls.when_unsteady(), [1.0] * 800 + [0.2] * 100)
    assert sum(searched[:20]) == 20
    assert sum(searched[700:800]) in (10, 11)
    assert sum(searched[810:850]) > 6


def test_when_unsteady_searches_on_while_the_last_step_is_far_below_its_means():
    """The means come apart slowly: by them a pause follows a step that collapsed."""
    searched = searched_steps(optaxls.when_unsteady(), [1.0] * 800 + [0.01] * 60)
    first = searched.index(True, 800)
    # fast = 0.9**n reaches ten times 0.01 after 23 searches.
    assert all(searched[first : first + 23])


def test_first_does_not_count_a_step_that_could_not_be_searched():
    gate = optaxls.first(1)
    memory = gate.init(jnp.ones(1))
    unsearched = outcome(0.1)._replace(num_trials=jnp.zeros((), jnp.int32))
    memory = gate.commit(memory, origin(), unsearched)
    assert gate.should_search(memory, origin())
    searched = outcome(0.1)._replace(num_trials=jnp.ones((), jnp.int32))
    assert not gate.should_search(gate.commit(memory, origin(), searched), origin())
