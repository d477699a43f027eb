"""A part's memory keeps its kind, or the error names the part."""

import jax.numpy as jnp
import optax
import pytest

import optaxls


def loss(w):
    return jnp.sum(w**2)


def condition(commit):
    """Accepts any decrease; remembers an integer."""
    return optaxls.Condition(
        lambda params: jnp.zeros((), jnp.int32),
        optaxls.keep_memory,
        lambda memory, origin, trial: optaxls.Verdict(trial.value - origin.value),
        commit,
    )


def initial_step(commit):
    """Always 0.25; remembers a float."""
    return optaxls.InitialStep(
        lambda params: jnp.zeros(()),
        lambda memory, origin: jnp.asarray(0.25),
        commit,
    )


def one_step(rule):
    optimizer = optax.chain(optax.scale(-1.0), rule)
    w = jnp.ones(2)
    return optaxls.make_step(loss, optimizer)(w, optimizer.init(w)).opt_state[1]


WRONG = {
    "a float for an integer": (lambda memory, *_: memory + 0.5, r"float32\[\]"),
    "another shape": (lambda memory, *_: jnp.stack([memory] * 3), r"int32\[3\]"),
    "another structure": (lambda memory, *_: (memory, memory), r"\('int32\[\]'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_memory_of_another_kind_is_refused_by_name(wrong):
    commit, got = WRONG[wrong]
    rule = optaxls.scale_by_line_search(condition(commit), optaxls.constant(0.25))
    with pytest.raises(
        TypeError, match=rf"^condition: commit .*got {got}.* int32\[\]$"
    ):
        one_step(rule)


def test_rules_without_a_search_refuse_it_too():
    rule = optaxls.scale_by_initial_step(
        initial_step(lambda memory, *_: jnp.stack([memory, memory]))
    )
    with pytest.raises(TypeError, match=r"^initial_step: .*float32\[2\].*float32\[\]$"):
        one_step(rule)


def test_python_numbers_and_narrower_floats_are_cast():
    rule = optaxls.scale_by_line_search(
        condition(lambda memory, *_: 7),
        initial_step(lambda memory, *_: jnp.asarray(0.5, jnp.bfloat16)),
    )
    state = one_step(rule)
    assert state.condition == 7 and state.condition.dtype == jnp.int32
    assert state.initial_step == 0.5 and state.initial_step.dtype == jnp.float32
