"""Imitating an expert online: the regret of following the leader, or a gradient.

A cart is driven by the learner's policy. Each round the expert says what it would have
done in the states that the learner came to, and the learner's error there is its loss.
Following the leader fits all rounds so far, with `minimize`.

python -m examples.talk.imitation
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_least, at_most, main
from examples.talk.pictures import BLUE, LEGEND, ORANGE, panels

ROUNDS, SEEDS = 2000, 5
# Regret is compared from here on: before, both kinds of growth look alike.
EARLY = 100
# Of a drive, and the seconds between two of its states.
LENGTH, DT = 5, 0.2
GAINS = np.array([-1.0, -1.2])
# Of a gradient step, over the root of the number of the round.
RATE = 3.0


def linear_expert(states: jax.Array) -> jax.Array:
    """Pushes against displacement and velocity; a linear policy can do the same."""
    return states @ GAINS


def switched_expert(states: jax.Array) -> jax.Array:
    """The same with a motor that is nearly always at full force, one way or the other.

    No linear policy imitates it.
    """
    return jnp.clip(20 * linear_expert(states), -2.0, 2.0)


def drive(policy: jax.Array, key: jax.Array) -> jax.Array:
    """The cart's states (displacement, velocity), `(LENGTH, 2)`, under a linear policy.

    It starts anywhere within 1, wind pushes it, and forces are limited to 3.
    """
    start_key, wind_key = jax.random.split(key)
    start = jax.random.uniform(start_key, (2,), minval=-1.0, maxval=1.0)
    winds = 0.5 * jax.random.normal(wind_key, (LENGTH,))

    def move(state: jax.Array, wind: jax.Array) -> tuple[jax.Array, jax.Array]:
        place, velocity = state
        force = jnp.clip(state @ policy, -3.0, 3.0) + wind
        velocity = velocity + DT * force
        return jnp.stack([place + DT * velocity, velocity]), state

    return jax.lax.scan(move, start, winds)[1]


class Quadratic(NamedTuple):
    """A loss as a function of the policy: half the mean squared error of the force."""

    second: jax.Array
    first: jax.Array
    constant: jax.Array

    def value(self, policy: jax.Array) -> jax.Array:
        """Of a policy."""
        curved = policy @ self.second @ policy / 2
        return curved - self.first @ policy + self.constant / 2


def loss_of(states: jax.Array, forces: jax.Array) -> Quadratic:
    """Of the policies that differ from these forces in these states."""
    return Quadratic(
        states.T @ states / LENGTH, states.T @ forces / LENGTH, jnp.mean(forces**2)
    )


def leader(total: Quadratic, start: jax.Array) -> jax.Array:
    """The policy with the least loss over all rounds so far."""
    end = optaxls.minimize(
        total.value, start, optaxls.lbfgs(), max_steps=30, tolerance=1e-12
    )
    return end.params


def _solved(total: Quadratic) -> jax.Array:
    """The same from a system of equations, for the learner that does not follow it."""
    return jnp.linalg.solve(total.second + 1e-12 * jnp.eye(2), total.first)


class Regrets(NamedTuple):
    """Means over the seeds, `(ROUNDS,)`: loss so far, less that of the best policy."""

    follow: np.ndarray
    descend: np.ndarray

    def grown(self, name: str) -> float:
        """From round 100 to the last one."""
        regret = getattr(self, name)
        return float(regret[-1] - regret[EARLY - 1])


def run(expert: Any, follow: bool, key: jax.Array) -> jax.Array:
    """The regret after each round of one learner."""
    zero = Quadratic(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(()))

    def play(carry: tuple, given: tuple) -> tuple:
        policy, best, total, suffered = carry
        number, key = given
        states = drive(policy, key)
        found = loss_of(states, expert(states))
        suffered = suffered + found.value(policy)
        # Means, so that the tolerance means the same in every round.
        total = jax.tree.map(lambda t, f: t + (f - t) / number, total, found)
        best = leader(total, best) if follow else _solved(total)
        step = RATE / jnp.sqrt(number) * jax.grad(found.value)(policy)
        policy = best if follow else policy - step
        regret = suffered - number * total.value(best)
        return (policy, best, total, suffered), regret

    numbers = jnp.arange(1.0, ROUNDS + 1)
    start = (jnp.zeros(2), jnp.zeros(2), zero, jnp.zeros(()))
    return jax.lax.scan(play, start, (numbers, jax.random.split(key, ROUNDS)))[1]


def regrets(expert: Any) -> Regrets:
    """Of both learners, each with the same drives' winds and starts."""
    keys = jax.random.split(jax.random.key(0), SEEDS)

    def mean(follow: bool) -> np.ndarray:
        each = jax.jit(jax.vmap(lambda key: run(expert, follow, key)))(keys)
        return np.asarray(each.mean(0))

    return Regrets(mean(True), mean(False))


def misfit(regret: np.ndarray, shape: Any) -> float:
    """The error of the best a + b shape(t) from round 100 on, over the regret's growth.

    Args:
        regret: after each round.
        shape: such as `np.log`.
    """
    rounds = np.arange(EARLY, ROUNDS + 1)
    late = regret[EARLY - 1 :]
    columns = np.column_stack([np.ones(len(rounds)), shape(rounds)])
    fitted = columns @ np.linalg.lstsq(columns, late, rcond=None)[0]
    return float(np.sqrt(np.mean((late - fitted) ** 2)) / np.ptp(late))


def _draw(axes: Axes, found: Regrets) -> None:
    rounds = np.arange(1, ROUNDS + 1)
    axes.semilogx(rounds, found.follow, color=BLUE, label="follow the leader")
    axes.semilogx(rounds, found.descend, color=ORANGE, label="gradient descent")
    axes.set(xlabel="round")


def _draw_shapes(axes: Axes, found: Regrets) -> None:
    """The growth that theory has, fitted from round 100 on."""
    rounds = np.arange(1, ROUNDS + 1)
    late = rounds[EARLY - 1 :]
    for regret, shape, label in (
        (found.follow, np.log, "a + b log t"),
        (found.descend, np.sqrt, "a + b √t"),
    ):
        columns = np.column_stack([np.ones(len(late)), shape(late)])
        fitted = columns @ np.linalg.lstsq(columns, regret[EARLY - 1 :], rcond=None)[0]
        axes.semilogx(late, fitted, color="#555555", lw=1, label=label,
                      ls="--" if shape is np.log else ":")  # fmt: skip


def draw(fits: Regrets, misfits: Regrets) -> Figure:
    """Regret by round, a panel for each expert."""
    figure, (left, right) = panels(
        ["An expert that can be imitated", "One that cannot"]
    )
    _draw(left, fits)
    _draw(right, misfits)
    _draw_shapes(right, misfits)
    left.set_ylabel("regret")
    left.legend(loc="center right", **LEGEND)
    right.legend(loc="lower right", **LEGEND)
    return figure


def _checks(fits: Regrets, misfits: Regrets) -> tuple[Check, ...]:
    def ratio(regret: np.ndarray, shape: Any, other: Any) -> float:
        return misfit(regret, shape) / misfit(regret, other)

    rounds = f"rounds {EARLY} to {ROUNDS}"
    return (
        at_most(
            f"imitable: regret of following the leader, {rounds}",
            fits.grown("follow"), 1e-3,
        ),
        at_least(
            f"not imitable: regret of following the leader, {rounds}",
            misfits.grown("follow"), 1,
        ),
        at_most(
            "its growth: error of a + b log t / of a + b √t",
            ratio(misfits.follow, np.log, np.sqrt), 0.5,
        ),
        at_most(
            "growth of gradient descent: error of a + b √t / of a + b log t",
            ratio(misfits.descend, np.sqrt, np.log), 0.5,
        ),
    )  # fmt: skip


def measure() -> Claim:
    """Two learners and two experts."""
    with jax.enable_x64(True):
        fits, misfits = regrets(linear_expert), regrets(switched_expert)

    def told(regret: np.ndarray) -> str:
        return ", ".join(f"{regret[t - 1]:.3g}" for t in (10, 100, 500, 1000, 2000))

    return Claim(
        title="Imitating an expert online",
        says="Where the policy can imitate the expert, following the leader has a"
        " regret that stops growing; where it cannot, one that grows like a logarithm,"
        " and that of gradient descent grows like a root.",
        checks=_checks(fits, misfits),
        findings=(
            "Regret after 10, 100, 500, 1000 and 2000 rounds, expert that can be"
            f" imitated: following the leader {told(fits.follow)}; gradient descent"
            f" {told(fits.descend)}.",
            f"Expert that cannot: {told(misfits.follow)}; {told(misfits.descend)}.",
            "Each learner is held against the best policy for the states it came to"
            " itself. So gradient descent may have less regret than a learner that"
            " drives better, and with longer drives and shorter steps its regret may"
            " even fall below 0.",
        ),
        figure=draw(fits, misfits),
        source="Lavington, Vaswani, Schmidt 2022 (arXiv:2208.00088); Ross, Gordon,"
        " Bagnell 2011 (arXiv:1011.0686)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "imitation"))
