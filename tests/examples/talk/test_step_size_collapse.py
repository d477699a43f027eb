"""T3: step sizes that collapse at the rounding error."""

import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from examples.talk import step_size_collapse as script


def trials_of(condition) -> int:
    """Where the promised decrease is far below the rounding error of the loss."""
    w = jnp.array([1e-4])
    result = optaxls.line_search(
        lambda w: 1 + 2e-7 + 0 * jnp.sum(w),
        w,
        -w,
        value=jnp.array(1.0),
        grad=w,
        condition=condition,
        initial_step=optaxls.constant(1.0),
    )
    return int(result.num_trials)


def test_the_naive_test_is_not_forgiven_a_rounding_error_and_ours_is():
    assert trials_of(script.naive_armijo(0.1)) == 101
    assert trials_of(optaxls.armijo(0.1)) == 1


def test_the_last_tenth_of_a_course_is_what_counts():
    steps = np.r_[np.ones(90), np.full(10, 1e-5)]
    course = script.Course(np.ones(11), steps, np.ones(100))
    assert course.last_step == 1e-5
    assert course.last_trials == 1


@pytest.mark.long
def test_the_claim_holds():
    claim = script.measure()
    assert [(check.statement, check.held) for check in claim.checks] == [
        ("exact Armijo, last steps' size ≤ 0.0001", True),
        ("our Armijo, last steps' size ≥ 0.1", True),
        ("our Armijo, smallest step ≥ 0.1", True),
        ("our Armijo, trials a step at the end ≤ 2", True),
        ("exact Armijo in float64, last steps ≥ 0.1", True),
    ]
    assert len(claim.findings) >= 3
