"""Online imitation: the drive, its loss, the leader, and the shapes of growth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.talk import imitation
from tests.examples.talk.checks import assert_reproduces


@pytest.mark.long
def test_the_inequalities_of_the_recipe_hold():
    limits = ["≤ 0.001", "≥ 1", "≤ 0.5", "≤ 0.5"]
    assert_reproduces(imitation.measure(), limits)


@pytest.mark.slow
def test_the_loss_of_a_round_is_the_error_of_the_force():
    states = imitation.drive(jnp.array([-0.5, 0.2]), jax.random.key(0))
    assert states.shape == (imitation.LENGTH, 2)
    # Displacement follows velocity.
    np.testing.assert_allclose(
        np.diff(states[:, 0]), imitation.DT * states[1:, 1], rtol=1e-4, atol=1e-6
    )
    forces = imitation.switched_expert(states)
    found = imitation.loss_of(states, forces)
    policy = jnp.array([1.0, -2.0])
    wanted = jnp.mean((states @ policy - forces) ** 2) / 2
    np.testing.assert_allclose(found.value(policy), wanted, rtol=1e-5)
    with jax.enable_x64(True):
        total = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), found)
        best = np.linalg.solve(total.second, total.first)
        ours = imitation.leader(total, jnp.zeros(2, jnp.float64))
        np.testing.assert_allclose(ours, best, rtol=1e-6)


def test_only_one_expert_can_be_imitated():
    states = jax.random.normal(jax.random.key(0), (50, 2))
    for expert, fits in (
        (imitation.linear_expert, True),
        (imitation.switched_expert, False),
    ):
        rest = np.linalg.lstsq(states, expert(states), rcond=None)[1]
        assert (rest[0] < 1e-6) == fits


def test_the_misfit_is_zero_for_its_own_shape_alone():
    rounds = np.arange(1, imitation.ROUNDS + 1)
    regret = 3 + 2 * np.log(rounds)
    assert imitation.misfit(regret, np.log) < 1e-9
    assert imitation.misfit(regret, np.sqrt) > 0.01
